"""A streamed completion, for threads."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import grpc

from onward.v1.completion_pb2 import StreamCompleteResponse
from onward_client.assembly import Assembly
from onward_client.errors import RequestError, api_error
from onward_client.replies import Metadata, to_reply
from onward_client.results import Completion, OutputError, to_completion


class StreamCall(Protocol):
    """The gRPC object of a call that returns a stream."""

    def __next__(self) -> StreamCompleteResponse:
        """Waits for the next event."""
        ...

    def cancel(self) -> object:
        """Cancels the call, unless it has ended."""
        ...

    def initial_metadata(self) -> Metadata:
        """Waits for the metadata before the events."""
        ...

    def trailing_metadata(self) -> Metadata:
        """Waits for the metadata after the events."""
        ...


class CompletionStream:
    """The events of a streamed completion, in a `with` block.

    Entering the block starts the call; leaving it cancels the rest. Iterate over the stream for events, or over `text`.

    Example:
        >>> with client.stream("What is 7 plus 5?") as stream:
        ...     for text in stream.text:
        ...         print(text, end="")
        ...     print(stream.final().finish_reason)
        7 + 5 = 12.stop
    """

    def __init__(self, begin: Callable[[], StreamCall], request_id: str) -> None:
        """Takes the function that starts the call, and the request id that it sends."""
        self._begin = begin
        self._request_id = request_id
        self._call: StreamCall | None = None
        self._assembly = Assembly()
        self._metadata: tuple[Metadata, ...] = ()

    def __enter__(self) -> Self:
        """Starts the call."""
        self._call = self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancels the rest of the call; `snapshot` stays available."""
        if self._call:
            self._call.cancel()
        self._call = None

    def __iter__(self) -> Self:
        """Returns the stream itself."""
        return self

    def __next__(self) -> StreamCompleteResponse:
        """Waits for the next event.

        Raises:
            APIError: The call failed. `snapshot` has what arrived before.
            RequestError: The stream is used outside its block.
        """
        if self._call is None:
            raise RequestError("iterate over a stream inside its `with` block")
        try:
            event = next(self._call)
        except StopIteration:
            self._metadata = (self._call.initial_metadata(), self._call.trailing_metadata())
            raise
        except grpc.RpcError as error:
            raise api_error(error, self._request_id) from error
        self._assembly.add(event)
        return event

    @property
    def text(self) -> Iterator[str]:
        """The text of the first choice, in pieces as they arrive."""
        return (event.delta.text for event in self if event.delta.text and event.delta.index == 0)

    @property
    def snapshot(self) -> Completion:
        """The completion so far; an empty one before the first event."""
        return to_completion(to_reply(self._assembly.response(), self._request_id, *self._metadata))

    def final(self) -> Completion:
        """Waits for the end of the stream, unless it has ended, and returns the completion as `complete` returns it.

        Returns:
            The whole completion.

        Raises:
            APIError: The call failed.
            OutputError: The stream ended before its last event, because its block was left or the server closed it.
        """
        if self._call is not None:
            for _ in self:
                pass
        if not self._assembly.is_complete:
            raise OutputError("the stream ended before its last event", self.snapshot)
        return self.snapshot
