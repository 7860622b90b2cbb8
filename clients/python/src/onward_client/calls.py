"""The options of a call: deadline, retries, request id and metadata."""

import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypedDict, Unpack, cast

from onward_client import environment
from onward_client.dicts import set_fields
from onward_client.errors import APIError, RequestError, shown
from onward_client.fields import integer, number
from onward_client.keywords import check_names

ApiKey: TypeAlias = str | Callable[[], str]
"""An API key, or a function that returns the current one. It runs for every call and must not block."""

_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_MAX_TIMEOUT_S = 1e9
"""Thirty years, in seconds. gRPC treats longer timeouts as expired."""


def no_hint(_: APIError) -> str:
    """Returns nothing to add to a failure."""
    return ""


class CallOptions(TypedDict, total=False):
    """Options of a single call. Those that are left out or None keep the value of the client."""

    timeout: float | timedelta | None
    """Seconds for the whole call, including retries."""
    max_retries: int | None
    """The most attempts after the first one, while the server is overloaded or unavailable; 0: one attempt."""
    headers: Mapping[str, str | bytes] | None
    """Further gRPC metadata, added to the client's. Names are lower-case, values printable ASCII, or bytes
    if the name ends in `-bin`."""
    request_id: str | None
    """Id of the call in the server's log. Default: a random one."""


class ClientOptions(TypedDict, total=False):
    """Options of all calls of a client.

    Those that are left out or None stay as they are: the default, or in `with_options` the client's value.
    """

    api_key: ApiKey | None
    """Sent as `authorization: Bearer`. Default: the value of ONWARD_API_KEY; if that is unset, no key."""
    timeout: float | timedelta | None
    """Seconds for a whole call, including retries. Default: 120."""
    max_retries: int | None
    """The most attempts after the first one, while the server is overloaded or unavailable; 0: one attempt. Default:
    as many as `timeout` allows while the server says when to come back, and 3 while it does not."""
    headers: Mapping[str, str | bytes] | None
    """Further gRPC metadata. Names are lower-case, values printable ASCII, or bytes if the name ends in
    `-bin`. Default: no headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The options of one call, complete and checked."""

    request_id: str
    timeout: float
    max_retries: int | None
    metadata: tuple[tuple[str, str | bytes], ...]
    hint: Callable[[APIError], str]
    """Returns what the caller can do about a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDefaults:
    """The values of `ClientOptions` that a client applies to its calls."""

    api_key: ApiKey | None = None
    timeout: float = 120.0
    max_retries: int | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])
    hint: Callable[[APIError], str] = no_hint

    @classmethod
    def of(cls, options: ClientOptions, hint: Callable[[APIError], str]) -> "CallDefaults":
        """Returns the values of a new client; without an API key, the one that the environment sets.

        Raises:
            RequestError: A value is out of range.
            TypeError: There is no such option.
        """
        own = cls(hint=hint).changed(**options)
        key = environment.api_key()
        if own.api_key is not None or key is None:
            return own
        _check_value("ONWARD_API_KEY", key, is_secret=True)
        return replace(own, api_key=key)

    def __post_init__(self) -> None:
        """Rejects values with which every call would fail."""
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise RequestError(f"timeout: must be a positive number of seconds, not {self.timeout!r}")
        if self.max_retries is not None and self.max_retries < 0:
            raise RequestError(f"max_retries: must be 0 or more, not {self.max_retries}")
        for name, value in self.headers.items():
            _check_header(name, value)
        if not callable(self.api_key) and self.api_key is not None:
            _check_value("api_key", self.api_key, is_secret=True)

    def changed(self, **changes: Unpack[ClientOptions]) -> "CallDefaults":
        """Returns a copy with some values changed; new headers are added to the existing ones.

        Raises:
            RequestError: A value is out of range.
            TypeError: There is no such option.
        """
        check_names(changes, ClientOptions.__optional_keys__)
        given: dict[str, Any] = set_fields(changes)
        if "timeout" in given:
            given["timeout"] = _seconds(given["timeout"])
        if "max_retries" in given:
            given["max_retries"] = integer("max_retries", given["max_retries"])
        given["headers"] = {**self.headers, **_headers(given.get("headers", {}))}
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
        request_id = options.get("request_id")
        request_id = uuid.uuid4().hex if request_id is None else request_id
        _check_value("request_id", request_id)
        metadata = [*own.headers.items(), ("x-request-id", request_id)]
        key = self.api_key() if callable(self.api_key) else self.api_key
        if key is not None:
            _check_value("api_key", key, is_secret=True)
            metadata.append(("authorization", f"Bearer {key}"))
        return Call(
            request_id=request_id,
            timeout=min(own.timeout, _MAX_TIMEOUT_S),
            max_retries=own.max_retries,
            metadata=tuple(metadata),
            hint=self.hint,
        )


def _seconds(timeout: object) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else number("timeout", timeout)


def _headers(headers: object) -> dict[str, str | bytes]:
    if not isinstance(headers, Mapping):
        raise RequestError(f"headers: must be a dict, not {shown(headers)}")
    return dict(cast("Mapping[str, str | bytes]", headers))


def _check_header(name: object, value: object) -> None:
    path = f"headers[{shown(name)}]"
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise RequestError(f"headers: {shown(name)} must be lower-case letters, digits, `_`, `-` and `.`")
    if name.startswith("grpc-"):
        raise RequestError(f"{path}: names that start with `grpc-` are reserved")
    if not name.endswith("-bin"):
        _check_value(path, value)
    elif not isinstance(value, bytes):
        raise RequestError(f"{path}: must be bytes, because its name ends in `-bin`, not {shown(value)}")


def _check_value(path: str, value: object, *, is_secret: bool = False) -> None:
    """Rejects metadata that gRPC cannot send. gRPC's own error would quote all metadata, including the API key."""
    if not isinstance(value, str):
        kind = f"a value of type {type(value).__name__}" if is_secret else shown(value)
        raise RequestError(f"{path}: must be a string, not {kind}")
    if not _HEADER_VALUE.fullmatch(value):
        found = "" if is_secret else f", not {shown(value)}"
        raise RequestError(f"{path}: must be printable ASCII{found}")
