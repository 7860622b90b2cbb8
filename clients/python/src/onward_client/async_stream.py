"""A completion while it is made, for asyncio; how events become a response is `assembly`'s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeAlias

import grpc.aio

from onward.v1.completion_pb2 import StreamCompleteRequest, StreamCompleteResponse
from onward_client.assembly import Assembly
from onward_client.errors import OutputError, RequestError, api_error
from onward_client.results import Completion, Metadata, to_completion, to_reply

AsyncStreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[StreamCompleteRequest, StreamCompleteResponse]"


class AsyncCompletionStream:
    """Iterates over events; in an `async with` block, which begins the call and on leaving ends it."""

    def __init__(self, begin: Callable[[], AsyncStreamCall], request_id: str) -> None:
        """Takes what begins the call, and what it is sent as."""
        self._begin = begin
        self._request_id = request_id
        self._call: AsyncStreamCall | None = None
        self._assembly = Assembly()
        self._metadata: tuple[Metadata, ...] = ()

    async def __aenter__(self) -> Self:
        """Begins the call."""
        self._call = self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancels what is left of the call; the snapshot stays."""
        if self._call:
            self._call.cancel()
        self._call = None

    def __aiter__(self) -> Self:
        """Gives the stream itself."""
        return self

    async def __anext__(self) -> StreamCompleteResponse:
        """The next event.

        Raises:
            APIError: the call failed; what has come is in `snapshot`.
        """
        if self._call is None:
            raise RequestError("iterate over a stream inside its `async with` block")
        with errors_of(self._request_id):
            event = await self._call.read()
        if not isinstance(event, StreamCompleteResponse):
            self._metadata = (tuple(await self._call.initial_metadata()), tuple(await self._call.trailing_metadata()))
            raise StopAsyncIteration
        self._assembly.add(event)
        return event

    @property
    def text(self) -> AsyncIterator[str]:
        """Pieces of the first answer's text as they come."""
        return (event.delta.text async for event in self if event.delta.text and event.delta.index == 0)

    @property
    def snapshot(self) -> Completion:
        """What has come so far."""
        return to_completion(to_reply(self._assembly.response(), self._request_id, *self._metadata))

    async def final(self) -> Completion:
        """The whole completion, as `complete` gives it; waits for what has not come yet.

        Raises:
            APIError: the call failed.
            OutputError: the stream was left or ended too early.
        """
        if self._call is not None:
            async for _ in self:
                pass
        if not self._assembly.is_complete:
            raise OutputError("the stream was left, or ended by the server, before its last event", self.snapshot)
        return self.snapshot


@contextmanager
def errors_of(request_id: str) -> Generator[None]:
    """Turns what grpc.aio raises into this package's errors; a task that is cancelled while it waits stays so."""
    try:
        yield
    except grpc.RpcError as error:
        raise api_error(error, request_id) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        none = grpc.aio.Metadata()
        closed = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, none, none, details="the client was closed")
        raise api_error(closed, request_id) from error
