"""A streamed completion, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeAlias

import grpc.aio

from onward.v1.completion_pb2 import StreamCompleteRequest, StreamCompleteResponse
from onward_client.assembly import Assembly
from onward_client.errors import RequestError, api_error
from onward_client.replies import Metadata, to_reply
from onward_client.results import Completion, OutputError, to_completion

AsyncStreamCall: TypeAlias = "grpc.aio.UnaryStreamCall[StreamCompleteRequest, StreamCompleteResponse]"


class AsyncCompletionStream:
    """The events of a streamed completion, in an `async with` block.

    Entering the block starts the call; leaving it cancels the rest. Iterate over the stream for events, or over `text`.

    Example:
        >>> async with client.stream("What is 7 plus 5?") as stream:
        ...     async for text in stream.text:
        ...         print(text, end="")
        ...     print((await stream.final()).finish_reason)
        7 + 5 = 12.stop
    """

    def __init__(self, begin: Callable[[], AsyncStreamCall], request_id: str) -> None:
        """Takes the function that starts the call, and the request id that it sends."""
        self._begin = begin
        self._request_id = request_id
        self._call: AsyncStreamCall | None = None
        self._assembly = Assembly()
        self._metadata: tuple[Metadata, ...] = ()

    async def __aenter__(self) -> Self:
        """Starts the call."""
        self._call = self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancels the rest of the call; `snapshot` stays available."""
        if self._call:
            self._call.cancel()
        self._call = None

    def __aiter__(self) -> Self:
        """Returns the stream itself."""
        return self

    async def __anext__(self) -> StreamCompleteResponse:
        """Waits for the next event.

        Raises:
            APIError: The call failed. `snapshot` has what arrived before.
            RequestError: The stream is used outside its block.
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
        """The text of the first choice, in pieces as they arrive."""
        return (event.delta.text async for event in self if event.delta.text and event.delta.index == 0)

    @property
    def snapshot(self) -> Completion:
        """The completion so far; an empty one before the first event."""
        return to_completion(to_reply(self._assembly.response(), self._request_id, *self._metadata))

    async def final(self) -> Completion:
        """Waits for the end of the stream, unless it has ended, and returns the completion as `complete` returns it.

        Returns:
            The whole completion.

        Raises:
            APIError: The call failed.
            OutputError: The stream ended before its last event, because its block was left or the server closed it.
        """
        if self._call is not None:
            async for _ in self:
                pass
        if not self._assembly.is_complete:
            raise OutputError("the stream ended before its last event", self.snapshot)
        return self.snapshot


@contextmanager
def errors_of(request_id: str) -> Generator[None]:
    """Converts the exceptions of grpc.aio to those of this package. A canceled task still raises CancelledError."""
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
