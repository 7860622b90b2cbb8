"""The response to one call, with the metadata that came with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""gRPC metadata, in the order in which it arrived."""

ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Reply(Generic[ResponseT]):
    """A response and the metadata that came with it."""

    proto: ResponseT
    """The generated message."""
    request_id: str
    """The id of this call in the server's log."""
    metadata: Metadata
    """Initial metadata, then trailing metadata."""


def to_reply(proto: ResponseT, request_id: str, *metadata: Iterable[tuple[str, str | bytes]]) -> Reply[ResponseT]:
    """Returns a reply; a request id in the metadata replaces the one that was sent."""
    pairs = tuple((key, value) for part in metadata for key, value in part)
    return Reply(proto, str(dict(pairs).get("x-request-id", request_id)), pairs)
