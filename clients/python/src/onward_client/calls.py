"""How a call is made: deadline, retries, request id and the metadata that goes with it; it makes none itself."""

import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypeAlias, TypedDict, Unpack

from onward_client.dicts import set_fields
from onward_client.errors import RequestError

MAX_RETRIES = 4
"""gRPC makes at most five attempts."""

ApiKey: TypeAlias = str | Callable[[], str]
"""A key, or what gives the current one; that is called for every call and must not block."""

_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")


class CallOptions(TypedDict, total=False):
    """What every call takes beside its request; None leaves it to the client's options."""

    timeout: float | None
    max_retries: int | None
    headers: Mapping[str, str] | None
    request_id: str | None
    """Names the call in the server's log; made here when it is left out."""


class Options(TypedDict, total=False):
    """What the calls of a client have in common; None leaves it as it is."""

    api_key: ApiKey | None
    """Sent as `authorization: Bearer`; none at first."""
    timeout: float | None
    """Seconds for a whole call with its retries; 120 at first."""
    max_retries: int | None
    """0 to 4 attempts after the first, where the server is overloaded or unavailable; 3 at first."""
    headers: Mapping[str, str] | None
    """More gRPC metadata for every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call about to be made."""

    request_id: str
    timeout: float
    max_retries: int
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """`Options` with a value for each."""

    api_key: ApiKey | None = None
    timeout: float = 120.0
    max_retries: int = 3
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Checks what a call would only find out later."""
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise RequestError(f"timeout: must be a positive number of seconds, not {self.timeout!r}")
        if self.max_retries not in range(MAX_RETRIES + 1):
            raise RequestError(f"max_retries: must be 0 to {MAX_RETRIES}, not {self.max_retries!r}")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise RequestError(f"headers: {name!r} must be lower-case letters, digits, `_`, `-` and `.`")
            _check_value(f"headers[{name!r}]", value)

    def changed(self, **changes: Unpack[Options]) -> "ClientOptions":
        """These options with some changed; headers are added to those that are there."""
        check_names(changes, Options.__optional_keys__)
        given = set_fields(changes)
        given["headers"] = {**self.headers, **(changes.get("headers") or {})}
        return replace(self, **given)

    def call(self, options: CallOptions) -> Call:
        """A call with these options, less what it asks for itself.

        Raises:
            RequestError: a value is out of range, or is none that gRPC can send.
        """
        check_names(options, CallOptions.__optional_keys__)
        own = self.changed(
            timeout=options.get("timeout"), max_retries=options.get("max_retries"), headers=options.get("headers")
        )
        request_id = options.get("request_id") or uuid.uuid4().hex
        _check_value("request_id", request_id)
        metadata = [*own.headers.items(), ("x-request-id", request_id)]
        key = self.api_key() if callable(self.api_key) else self.api_key
        if key is not None:
            _check_value("api_key", key)
            metadata.append(("authorization", f"Bearer {key}"))
        return Call(request_id=request_id, timeout=own.timeout, max_retries=own.max_retries, metadata=tuple(metadata))


def check_names(options: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuses a keyword that is not known, as Python does for parameters that are written out."""
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"unexpected keyword argument {name!r}{hint}")


def _check_value(name: str, value: str) -> None:
    """Refuses what gRPC would refuse with all metadata, the key among it, in its message."""
    if not _HEADER_VALUE.fullmatch(value):
        raise RequestError(f"{name}: must be printable ASCII")
