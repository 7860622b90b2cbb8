"""Everything that can go wrong, in one tree; it does not know how requests are built or calls are made.

OnwardError
├── RequestError                    the request could not be built and nothing was sent; also a ValueError
├── APIError                        the call failed: any status that is not named below
│   ├── InvalidRequestError         see `field_violations`
│   │   └── ContextLengthExceededError
│   ├── AuthenticationError         no API key, or a wrong one
│   ├── PermissionDeniedError       the key may not do this
│   ├── ModelNotFoundError
│   ├── OverloadedError             a full queue or a rate limit, after all retries; see `retry_after`
│   ├── UnavailableError            no connection, or a server that is loading or shutting down, after all retries
│   ├── DeadlineExceededError       `timeout` passed
│   ├── CancelledError              the call was cancelled here or by the server; not asyncio's
│   └── InternalError               the server failed
└── OutputError                     the call went well, the answer is not what was asked for; see `response`
    ├── LengthFinishError           it was cut off by a limit
    └── OutputValidationError       it does not match the type
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from onward_client.results import Completion, Metadata

DetailT = TypeVar("DetailT", bound=Message)


class OnwardError(Exception):
    """Base of everything this package raises on purpose."""


class RequestError(OnwardError, ValueError):
    """The request could not be built, so nothing was sent; the message names the field."""


class APIError(OnwardError):
    """The call ended with a status other than OK."""

    def __init__(self, rpc_error: grpc.RpcError, status: Status, request_id: str) -> None:
        """Takes what gRPC raised, the details that came with it, and the request id that was sent."""
        self.rpc_error = rpc_error
        self.status = status
        """The `google.rpc.Status` with every detail, empty when the server sent none."""
        self.code: grpc.StatusCode = rpc_error.code()
        self.message: str = rpc_error.details() or ""
        info = _detail(status, ErrorInfo)
        self.reason: str = info.reason
        """An `onward.v1.ErrorReason` name without its prefix; empty when the failure is not the service's own."""
        self.domain: str = info.domain
        self.metadata: dict[str, str] = dict(info.metadata)
        """What `ErrorInfo` says of this reason, such as `context_length`."""
        self.field_violations = tuple(_detail(status, BadRequest).field_violations)
        self.request_id: str = _detail(status, RequestInfo).request_id or request_id
        self.retry_after = _retry_after(status, _trailers(rpc_error))
        """Seconds after which the server says that a retry may work."""
        super().__init__(str(self))

    def __str__(self) -> str:
        """Says the code, the reason, the message, the bad fields and the request id on one line."""
        unsaid = (v for v in self.field_violations if v.description not in self.message)
        fields = "".join(f"; {v.field}: {v.description}" for v in unsaid)
        name = f"{self.code.name} {self.reason}".rstrip()
        return f"{name}: {self.message}{fields} (request id {self.request_id})"


class InvalidRequestError(APIError):
    """The server refused the request; `field_violations` names every bad field, `message` what else to change."""


class ContextLengthExceededError(InvalidRequestError):
    """Prompt and answer do not fit the model's window; `metadata` has the counts."""


class AuthenticationError(APIError):
    """No API key was sent, or one that the server does not know."""


class PermissionDeniedError(APIError):
    """The API key may not do this."""


class ModelNotFoundError(APIError):
    """The server has no such model."""


class OverloadedError(APIError):
    """The server's queue is full or a limit is reached, and the retries did not help."""


class UnavailableError(APIError):
    """The server cannot be reached or takes no requests now, and the retries did not help."""


class DeadlineExceededError(APIError):
    """The call took longer than its `timeout`."""


class CancelledError(APIError):
    """The call was cancelled by the server or by closing the client; not the `CancelledError` of asyncio."""


class InternalError(APIError):
    """The server failed; its log has more under `request_id`."""


class OutputError(OnwardError):
    """The call went well, but its answer is not what was asked for."""

    def __init__(self, message: str, response: Completion) -> None:
        """Keeps the response, so that nothing of the answer is lost."""
        super().__init__(f"{message} (request id {response.request_id})")
        self.response = response


class LengthFinishError(OutputError):
    """The answer was cut off by `max_tokens`, the context window or `time_limit`."""


class OutputValidationError(OutputError):
    """The answer does not match the type."""

    def __init__(self, message: str, response: Completion, text: str, validation_error: Exception | None) -> None:
        """Keeps the text that was validated and what the validator said of it."""
        super().__init__(message, response)
        self.text = text
        self.validation_error = validation_error


_BY_REASON: dict[str, type[APIError]] = {
    "CONTEXT_LENGTH_EXCEEDED": ContextLengthExceededError,
    "MODEL_NOT_FOUND": ModelNotFoundError,
    "QUEUE_FULL": OverloadedError,
    "RATE_LIMITED": OverloadedError,
    "OUT_OF_MEMORY": OverloadedError,
    "MESSAGE_TOO_LARGE": InvalidRequestError,
}
# RESOURCE_EXHAUSTED is not here: without a reason of the service it is gRPC's word for a message over the size limit.
_BY_CODE: dict[grpc.StatusCode, type[APIError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def api_error(rpc_error: grpc.RpcError, request_id: str) -> APIError:
    """The error that `rpc_error` stands for; raise it `from` that."""
    status = _rich_status(_trailers(rpc_error))
    reason = _detail(status, ErrorInfo).reason
    kind = _BY_REASON.get(reason) or _BY_CODE.get(rpc_error.code(), APIError)
    return kind(rpc_error, status, request_id)


def _trailers(rpc_error: grpc.RpcError) -> Metadata:
    return tuple(cast("Metadata", rpc_error.trailing_metadata()) or ())


def _rich_status(trailers: Metadata) -> Status:
    status = Status()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):  # A broken detail must not hide the error that it belongs to.
                status.MergeFromString(value)
    return status


def _detail(status: Status, kind: type[DetailT]) -> DetailT:
    """The status's detail of that kind, empty when it has none."""
    for packed in status.details:
        found = kind()
        with suppress(DecodeError):
            if packed.Unpack(found):
                return found
    return kind()


def _retry_after(status: Status, trailers: Metadata) -> float | None:
    retry = _detail(status, RetryInfo)
    if retry.HasField("retry_delay"):
        return retry.retry_delay.ToTimedelta().total_seconds()
    pushback = dict(trailers).get("grpc-retry-pushback-ms")
    return int(pushback) / 1000 if isinstance(pushback, str) and pushback.isdecimal() else None
