"""Requests to the look-alike of the Hugging Face hub, and the faults that it responds to some of them with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, assert_never

Host = Literal["hub", "cdn"]
_LFS_SUFFIXES = (".onnx", ".data", "_data", ".safetensors", ".gguf", "_data_1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that arrived."""

    host: Host
    method: str
    path: str
    """The decoded path, without the query."""
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def start(self) -> int:
        """The first requested byte."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection ends after some bytes of the body."""

    path: str
    after: int
    ignores_range: bool = False
    """Whether the body begins with the first byte of the file, whatever the requested range is."""
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """The body stops after some bytes, until the hub is released."""

    path: str
    after: int
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt:
    """One bit of the body is wrong."""

    path: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRange:
    """The whole file is sent, whatever the requested range is."""

    path: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond:
    """A response instead of the resource."""

    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    times: int = 1
    host: Host = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Before the request is served, a branch moves to a new commit."""

    path: str
    repo: str
    files: Mapping[str, bytes]
    times: int = 1


Fault = Cut | Stall | Corrupt | NoRange | Respond | Move


def is_large(path: str) -> bool:
    """Whether the hub keeps a file in Git LFS, so that another host sends it."""
    return path.endswith(_LFS_SUFFIXES)


def applies(fault: Fault, request: Request) -> bool:
    """Whether a fault changes the response to a request."""
    if not request.path.endswith(fault.path):
        return False
    match fault:
        case Cut() | Stall() | Corrupt() | NoRange():  # on the host that sends the content
            return request.method == "GET" and (request.host == "cdn" or not is_large(request.path))
        case Respond():
            return request.host == fault.host
        case Move():
            return request.host == "hub"
        case _:
            assert_never(fault)
