"""The exceptions for requests that cannot be built and calls that fail.

Every exception of this package is in one tree. `OutputError` and its subclasses are in `results`, next to the
completion that they carry.

OnwardError
├── RequestError                    the request could not be built, and nothing was sent; also a ValueError
├── APIError                        the call failed; also raised for statuses without a class of their own
│   ├── InvalidRequestError         the server rejected the request; see `field_violations`
│   │   └── ContextLengthExceededError
│   ├── AuthenticationError         the API key is missing or unknown
│   ├── PermissionDeniedError       the API key does not permit this
│   ├── ModelNotFoundError
│   ├── OverloadedError             a full queue or a rate limit, after all retries; see `retry_after`
│   ├── UnavailableError            no connection, or a server that is loading or shutting down, after all retries
│   ├── DeadlineExceededError       the call took longer than its `timeout`
│   ├── CancelledError              the call was canceled, by the server or by closing the client
│   └── InternalError               the server failed
└── OutputError                     the call succeeded, but its output is not what was asked for; see `response`
    ├── LengthFinishError           a limit ended the output early
    └── OutputValidationError       the output does not match the type
"""

import math
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from onward_client.replies import Pairs

DetailT = TypeVar("DetailT", bound=Message)
ErrorT = TypeVar("ErrorT", bound="OnwardError")

_PUSHBACK = "grpc-retry-pushback-ms"
_MAX_SHOWN = 100


class OnwardError(Exception):
    """Base class of every exception that this package raises on purpose. All can be pickled and copied."""

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...], dict[str, object]]:
        """Keeps all attributes and the cause; a part that cannot be pickled is replaced by its text."""
        parts = {**self.__dict__, "__cause__": self.__cause__}
        plain = {id(part): _picklable(part) for part in parts.values()}
        return _new, (type(self), *self.args), {name: plain[id(part)] for name, part in parts.items()}


class RequestError(OnwardError, ValueError):
    """The request could not be built, so nothing was sent. The message names the field."""


class RpcFailure(grpc.RpcError):
    """A failed RPC as plain values: the form in which gRPC's own exceptions are pickled and copied."""

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str | None,
        initial_metadata: Pairs = (),
        trailing_metadata: Pairs = (),
        debug_error_string: str = "",
    ) -> None:
        """Creates the failure."""
        super().__init__(code, details, initial_metadata, trailing_metadata, debug_error_string)
        self._values = (code, details, initial_metadata, trailing_metadata, debug_error_string)

    @classmethod
    def of(cls, error: grpc.RpcError) -> "RpcFailure":
        """Returns the plain form of an exception of gRPC."""
        call = cast("Any", error)  # its type lacks the methods that all failures have
        initial, debug = _plain(call.initial_metadata()), getattr(call, "debug_error_string", str)
        return cls(error.code(), error.details(), initial, trailers_of(error), debug() or "")

    def code(self) -> grpc.StatusCode:
        """Returns the status code."""
        return self._values[0]

    def details(self) -> str | None:
        """Returns the message of the status."""
        return self._values[1]

    def initial_metadata(self) -> Pairs:
        """Returns the metadata before the response."""
        return self._values[2]

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - gRPC's own class of pairs
        """Returns the metadata after the response."""
        return self._values[3]

    def debug_error_string(self) -> str:
        """Returns gRPC's own description of the failure."""
        return self._values[4]


class APIError(OnwardError):
    """The call ended with a status other than OK. Subclasses name the common causes."""

    def __init__(self, rpc_error: grpc.RpcError, status: Status, request_id: str, attempts: int = 1) -> None:
        """Creates the error.

        Args:
            rpc_error: The exception that gRPC raised.
            status: The details that came with it.
            request_id: The id that the client sent; the server may have replaced it.
            attempts: How often the call was tried.
        """
        self.rpc_error = rpc_error
        self.status = status
        """The `google.rpc.Status` with every detail; empty if the server sent no details."""
        self.code: grpc.StatusCode = rpc_error.code()
        self.message: str = rpc_error.details() or ""
        info = _detail(status, ErrorInfo)
        self.reason: str = info.reason
        """Name of an `onward.v1.ErrorReason` without its prefix; empty if the service gave no reason."""
        self.domain: str = info.domain
        self.metadata: dict[str, str] = dict(info.metadata)
        """Facts about the reason from `ErrorInfo`, such as `context_length`."""
        self.field_violations = tuple(_detail(status, BadRequest).field_violations)
        """The bad fields of the request, each with `field` and `description`."""
        self.request_id: str = _detail(status, RequestInfo).request_id or request_id
        self.retry_after = _retry_after(status, trailers_of(rpc_error))
        """Seconds to wait before trying again, as the server suggests; None if it suggests nothing."""
        self.hint = ""
        """What to do, if the client knows; part of the text of this exception. Empty otherwise."""
        self.attempts = attempts
        """How often the call was tried, the first attempt included."""
        super().__init__(str(self))

    def __str__(self) -> str:
        """Returns the code, reason, message, bad fields, attempts and request id on one line."""
        further = (f"{v.field}: {v.description}" for v in self.field_violations if v.description not in self.message)
        text = "; ".join(filter(None, (self.message, *further, self.hint))) or "the server gave no reason"
        name = f"{self.code.name} {self.reason}".rstrip()
        tries = f"tried {self.attempts} times, " if self.attempts > 1 else ""
        return f"{name}: {text} ({tries}request id {self.request_id})"


class InvalidRequestError(APIError):
    """The server rejected the request. `field_violations` lists the bad fields; `message` says what to change."""


class ContextLengthExceededError(InvalidRequestError):
    """The prompt and `max_tokens` do not fit the context window. `metadata` has the token counts."""


class AuthenticationError(APIError):
    """The call had no API key, or one that the server does not know."""


class PermissionDeniedError(APIError):
    """The API key does not permit this."""


class ModelNotFoundError(APIError):
    """The server does not serve the requested model."""


class OverloadedError(APIError):
    """The server's queue was full or a rate limit was reached, on every attempt."""


class UnavailableError(APIError):
    """The server could not be reached or accepted no requests, on every attempt."""


class DeadlineExceededError(APIError):
    """The call took longer than its `timeout`."""


class CancelledError(APIError):
    """The call was canceled by the server or by closing the client. Unrelated to `asyncio.CancelledError`."""


class InternalError(APIError):
    """The server failed. Its log has the cause under `request_id`."""


_BY_REASON: dict[str, type[APIError]] = {
    "CONTEXT_LENGTH_EXCEEDED": ContextLengthExceededError,
    "MODEL_NOT_FOUND": ModelNotFoundError,
    "QUEUE_FULL": OverloadedError,
    "RATE_LIMITED": OverloadedError,
    "OUT_OF_MEMORY": OverloadedError,
    "MESSAGE_TOO_LARGE": InvalidRequestError,
}
# RESOURCE_EXHAUSTED is missing: without a reason or a retry time, it means a message over gRPC's size limit.
_BY_CODE: dict[grpc.StatusCode, type[APIError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def shown(value: object) -> str:
    """Returns a value as error messages show it: its `repr`, at most 100 characters of it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - it runs the code of any class
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def api_error(rpc_error: grpc.RpcError, request_id: str, attempts: int = 1) -> APIError:
    """Returns the exception to raise from an `rpc_error`."""
    status = _rich_status(trailers_of(rpc_error))
    reason = _detail(status, ErrorInfo).reason
    kind = _BY_REASON.get(reason) or _BY_CODE.get(rpc_error.code(), APIError)
    if kind is APIError and rpc_error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and pushback_s(rpc_error):
        kind = OverloadedError
    return kind(rpc_error, status, request_id, attempts)


def pushback_s(rpc_error: grpc.RpcError) -> float | None:
    """Returns the seconds after which the server wants the call to be tried again.

    Returns:
        The seconds; infinity if the server forbids it; None if the server does not say.
    """
    pushback = dict(trailers_of(rpc_error)).get(_PUSHBACK)
    if pushback is None:
        return None
    return int(pushback) / 1000 if isinstance(pushback, str) and _is_number(pushback) else math.inf


def trailers_of(rpc_error: grpc.RpcError) -> Pairs:
    """Returns the trailing metadata of a failure."""
    return _plain(rpc_error.trailing_metadata())


def _plain(metadata: Any) -> Pairs:  # noqa: ANN401 - gRPC has several types for it
    return tuple((key, value) for key, value in metadata or ())


def _rich_status(trailers: Pairs) -> Status:
    status = Status()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):  # a malformed detail must not hide the error itself
                status.MergeFromString(value)
    return status


def _detail(status: Status, kind: type[DetailT]) -> DetailT:
    """Returns the detail of this type from a status, or an empty message if there is none."""
    for packed in status.details:
        found = kind()
        with suppress(DecodeError):
            if packed.Unpack(found):
                return found
    return kind()


def _retry_after(status: Status, trailers: Pairs) -> float | None:
    retry = _detail(status, RetryInfo)
    if retry.HasField("retry_delay"):
        return retry.retry_delay.ToTimedelta().total_seconds()
    pushback = dict(trailers).get(_PUSHBACK)
    return int(pushback) / 1000 if isinstance(pushback, str) and _is_number(pushback) else None


def _is_number(text: str) -> bool:
    """Returns whether a text is a number of milliseconds; gRPC reads any other text as a ban on retries."""
    return text.isascii() and text.isdecimal()


def _new(kind: type[ErrorT], *args: object) -> ErrorT:
    """Creates an exception without its constructor; unpickling or copying then sets its attributes."""
    return kind.__new__(kind, *args)


def _picklable(value: object) -> object:
    if isinstance(value, grpc.RpcError):
        return value if isinstance(value, RpcFailure) else RpcFailure.of(value)
    if isinstance(value, BaseException):
        try:
            pickle.loads(pickle.dumps(value))  # noqa: S301 - bytes of this process
        except Exception:  # noqa: BLE001 - it runs the code of any exception class
            return ValueError(str(value))
    return value
