"""The options of a call: deadline, retries, request id and metadata."""

import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypeAlias, TypedDict, Unpack

from onward_client.dicts import set_fields
from onward_client.errors import APIError, RequestError

ApiKey: TypeAlias = str | Callable[[], str]
"""An API key, or a function that returns the current one. It runs for every call and must not block."""

_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")


def no_hint(_: APIError) -> str:
    """Returns nothing to add to a failure."""
    return ""


class CallOptions(TypedDict, total=False):
    """Options of a single call. Those that are left out or None keep the value of the client."""

    timeout: float | None
    """Seconds for the whole call, including retries."""
    max_retries: int | None
    """The most attempts after the first one, while the server is overloaded or unavailable; 0: one attempt."""
    headers: Mapping[str, str] | None
    """Further gRPC metadata, added to the client's. Names are lower-case, values printable ASCII."""
    request_id: str | None
    """Id of the call in the server's log. Default: a random one."""


class ClientOptions(TypedDict, total=False):
    """Options of all calls of a client.

    Those that are left out or None stay as they are: the default, or in `with_options` the client's value.
    """

    api_key: ApiKey | None
    """Sent as `authorization: Bearer`. Default: no key."""
    timeout: float | None
    """Seconds for a whole call, including retries. Default: 120."""
    max_retries: int | None
    """The most attempts after the first one, while the server is overloaded or unavailable; 0: one attempt. Default:
    as many as `timeout` allows while the server says when to come back, and 3 while it does not."""
    headers: Mapping[str, str] | None
    """Further gRPC metadata. Names are lower-case, values printable ASCII. Default: no headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The options of one call, complete and checked."""

    request_id: str
    timeout: float
    max_retries: int | None
    metadata: tuple[tuple[str, str], ...]
    hint: Callable[[APIError], str]
    """Returns what the caller can do about a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDefaults:
    """The values of `ClientOptions` that a client applies to its calls."""

    api_key: ApiKey | None = None
    timeout: float = 120.0
    max_retries: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    hint: Callable[[APIError], str] = no_hint

    def __post_init__(self) -> None:
        """Rejects values with which every call would fail."""
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise RequestError(f"timeout: must be a positive number of seconds, not {self.timeout!r}")
        if self.max_retries is not None and self.max_retries < 0:
            raise RequestError(f"max_retries: must be 0 or more, not {self.max_retries!r}")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise RequestError(f"headers: {name!r} must be lower-case letters, digits, `_`, `-` and `.`")
            _check_value(f"headers[{name!r}]", value)

    def changed(self, **changes: Unpack[ClientOptions]) -> "CallDefaults":
        """Returns a copy with some values changed; new headers are added to the existing ones.

        Raises:
            RequestError: A value is out of range.
            TypeError: There is no such option.
        """
        check_names(changes, ClientOptions.__optional_keys__)
        given = set_fields(changes)
        given["headers"] = {**self.headers, **(changes.get("headers") or {})}
        return replace(self, **given)

    def call(self, options: CallOptions) -> Call:
        """Returns the options of a call, which may override these.

        Raises:
            RequestError: A value is out of range, or gRPC cannot send it.
            TypeError: There is no such option.
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
        return Call(
            request_id=request_id,
            timeout=own.timeout,
            max_retries=own.max_retries,
            metadata=tuple(metadata),
            hint=self.hint,
        )


def check_names(options: Mapping[str, object], known: frozenset[str]) -> None:
    """Rejects unknown keywords, and suggests the nearest known one.

    Raises:
        TypeError: As Python raises it for an unknown keyword argument.
    """
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"unexpected keyword argument {name!r}{hint}")


def _check_value(name: str, value: str) -> None:
    """Rejects metadata that gRPC cannot send. gRPC's own error would quote all metadata, including the API key."""
    if not _HEADER_VALUE.fullmatch(value):
        raise RequestError(f"{name}: must be printable ASCII")
