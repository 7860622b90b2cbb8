"""A streamed completion, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeAlias, TypeVar

import grpc.aio

from onward.v1.completion_pb2 import StreamCompleteRequest, StreamCompleteResponse
from onward_client.assembly import Assembly
from onward_client.calls import Call
from onward_client.errors import RequestError, RpcFailure
from onward_client.replies import Pairs, to_reply
from onward_client.results import Completion, OutputError, ParsedCompletion, to_completion, to_parsed
from onward_client.retries import Attempts
from onward_client.rpcs import STREAM_COMPLETE

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
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

    def __init__(
        self,
        begin: Callable[[Call, float], AsyncStreamCall],
        prepare: Callable[[], Call],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """Creates the stream.

        Args:
            begin: Makes one attempt with the options of a call and a timeout in seconds.
            prepare: Returns the options of a new call.
            wait: Waits some seconds between two attempts.
        """
        self._begin = begin
        self._prepare = prepare
        self._wait = wait
        self._options = prepare()
        self._attempts: Attempts | None = None
        self._call: AsyncStreamCall | None = None
        self._assembly = Assembly()
        self._metadata: tuple[Pairs, ...] = ()

    async def __aenter__(self) -> Self:
        """Starts the call. Entering the block again after it was left starts a new call.

        Raises:
            RequestError: The stream is in a block already, or the client is closed.
        """
        if self._call is not None:
            raise RequestError("the stream is in an `async with` block already; call `stream` again for a second one")
        if self._attempts is not None:
            self._options, self._assembly, self._metadata = self._prepare(), Assembly(), ()
        self._attempts = Attempts(self._options, STREAM_COMPLETE.path)
        self._call = self._begin(self._options, self._attempts.begin())
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
        while True:
            call, attempts = self._call, self._attempts
            if call is None or attempts is None:
                raise RequestError("iterate over a stream inside its `async with` block")
            try:
                with canceling_is_reported():
                    event = await call.read()
            except grpc.RpcError as error:
                await self._wait(attempts.wait_after(error))
                self._call = self._begin(self._options, attempts.begin())
            else:
                break
        if not isinstance(event, StreamCompleteResponse):
            self._metadata = (tuple(await call.initial_metadata()), tuple(await call.trailing_metadata()))
            raise StopAsyncIteration
        attempts.commit()
        self._assembly.add(event)
        return event

    @property
    def text(self) -> AsyncIterator[str]:
        """The text of the first choice, in pieces as they arrive."""
        return (event.delta.text async for event in self if event.delta.text and event.delta.index == 0)

    @property
    def snapshot(self) -> Completion:
        """The completion so far; an empty one before the first event."""
        return to_completion(to_reply(self._assembly.response(), self._options.request_id, *self._metadata))

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


class AsyncParsedCompletionStream(AsyncCompletionStream, Generic[T]):
    """An `AsyncCompletionStream` whose `final` parses the output."""

    def __init__(
        self,
        kind: TypeForm[T],
        begin: Callable[[Call, float], AsyncStreamCall],
        prepare: Callable[[], Call],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """Creates the stream; `kind` is the type of the output, and the rest is as in `AsyncCompletionStream`."""
        super().__init__(begin, prepare, wait)
        self._kind = kind

    async def final(self) -> ParsedCompletion[T]:
        """Waits for the end of the stream, unless it has ended, and returns the completion as `parse` returns it.

        Returns:
            The whole completion, with the value as `parsed`.

        Raises:
            APIError: The call failed.
            OutputError: The output does not match the type, or the stream ended before its last event.
        """
        return to_parsed(self._kind, await super().final())


@contextmanager
def canceling_is_reported() -> Generator[None]:
    """Turns the cancellation of a call by closing its client into a failed RPC. A canceled task stays canceled.

    Raises:
        RpcFailure: The call was canceled by closing its client.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RpcFailure(grpc.StatusCode.CANCELLED, "the client was closed") from error
