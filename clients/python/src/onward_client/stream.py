"""A completion while it is made, for threads; how events become a response is `assembly`'s."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

import grpc

from onward.v1.completion_pb2 import StreamCompleteResponse
from onward_client.assembly import Assembly
from onward_client.errors import OutputError, RequestError, api_error
from onward_client.results import Completion, Metadata, to_completion, to_reply


class StreamCall(Protocol):
    """What gRPC gives for a call that is answered by a stream."""

    def __next__(self) -> StreamCompleteResponse:
        """Waits for the next event."""
        ...

    def cancel(self) -> object:
        """Ends the call; does nothing if it has ended."""
        ...

    def initial_metadata(self) -> Metadata:
        """Waits for the metadata before the events."""
        ...

    def trailing_metadata(self) -> Metadata:
        """Waits for the metadata after the events."""
        ...


class CompletionStream:
    """Iterates over events; in a `with` block, which begins the call and on leaving ends it."""

    def __init__(self, begin: Callable[[], StreamCall], request_id: str) -> None:
        """Takes what begins the call, and what it is sent as."""
        self._begin = begin
        self._request_id = request_id
        self._call: StreamCall | None = None
        self._assembly = Assembly()
        self._metadata: tuple[Metadata, ...] = ()

    def __enter__(self) -> Self:
        """Begins the call."""
        self._call = self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancels what is left of the call; the snapshot stays."""
        if self._call:
            self._call.cancel()
        self._call = None

    def __iter__(self) -> Self:
        """Gives the stream itself."""
        return self

    def __next__(self) -> StreamCompleteResponse:
        """The next event.

        Raises:
            APIError: the call failed; what has come is in `snapshot`.
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
        """Pieces of the first answer's text as they come."""
        return (event.delta.text for event in self if event.delta.text and event.delta.index == 0)

    @property
    def snapshot(self) -> Completion:
        """What has come so far."""
        return to_completion(to_reply(self._assembly.response(), self._request_id, *self._metadata))

    def final(self) -> Completion:
        """The whole completion, as `complete` gives it; waits for what has not come yet.

        Raises:
            APIError: the call failed.
            OutputError: the stream was left or ended too early.
        """
        if self._call is not None:
            for _ in self:
                pass
        if not self._assembly.is_complete:
            raise OutputError("the stream was left, or ended by the server, before its last event", self.snapshot)
        return self.snapshot
