"""The response to one call, with the metadata that came with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""gRPC metadata, in the order in which it arrived."""
Metadata: TypeAlias = dict[str, str | bytes]
"""gRPC metadata by name; bytes if the name ends in `-bin`. Values of a repeated name are joined by commas."""

ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Reply(Generic[ResponseT]):
    """A response and the metadata that came with it."""

    proto: ResponseT
    """The generated message."""
    request_id: str
    """The id of this call in the server's log."""
    metadata: Metadata
    """Initial and trailing metadata."""


def to_reply(proto: ResponseT, request_id: str, *metadata: Iterable[tuple[str, str | bytes]]) -> Reply[ResponseT]:
    """Returns a reply; a request id in the metadata replaces the one that was sent."""
    by_name: Metadata = {}
    for name, value in (pair for part in metadata for pair in part):
        by_name[name] = _joined(by_name[name], value) if name in by_name else value
    return Reply(proto, str(by_name.get("x-request-id", request_id)), by_name)


def _joined(first: str | bytes, second: str | bytes) -> str | bytes:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}, {second}"
    return b",".join(value if isinstance(value, bytes) else value.encode() for value in (first, second))
