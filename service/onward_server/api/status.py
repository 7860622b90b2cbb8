"""Maps errors to gRPC statuses.

    InvalidRequest      INVALID_ARGUMENT    its own reason        BadRequest
    ModelNotFound       NOT_FOUND           MODEL_NOT_FOUND       ResourceInfo
    CredentialsInvalid  UNAUTHENTICATED     CREDENTIALS_INVALID
    EngineOverloaded    RESOURCE_EXHAUSTED  QUEUE_FULL            RetryInfo
    ServerDraining      UNAVAILABLE         SERVER_DRAINING       RetryInfo
    ModelsLoading       UNAVAILABLE         MODEL_LOADING         RetryInfo
    LogitsNotFinite     INTERNAL            ENGINE_FAILURE        a fixed text, as below
    EngineFailed        UNAVAILABLE         ENGINE_FAILURE        RetryInfo
    ResponseTooLarge    RESOURCE_EXHAUSTED  MESSAGE_TOO_LARGE     forbids a retry; clients otherwise retry this code
    DeadlineExceeded    DEADLINE_EXCEEDED   (no reason)
    StreamStalled       DEADLINE_EXCEEDED   (no reason)
    UnknownMethod       UNIMPLEMENTED       (no reason)
    anything else       INTERNAL            ENGINE_FAILURE        a fixed text: the exception's own is not sent

Every status has `RequestInfo` and, if it has a reason, `ErrorInfo`. A status that allows or forbids a retry also
sets the trailer `grpc-retry-pushback-ms`, which gRPC clients obey.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from onward_server.api import encode
from onward_server.errors import (
    CredentialsInvalid,
    EngineFailed,
    EngineOverloaded,
    FieldViolation,
    InvalidRequest,
    LogitsNotFinite,
    ModelNotFound,
    ModelsLoading,
    OnwardError,
    ServerDraining,
)
from onward_server.version import VERSION

REQUEST_ID = "x-request-id"
"""Metadata key of the request id, in a call's metadata and in its trailers."""
SERVER_VERSION = ("x-onward-version", VERSION)
"""Trailing metadata of every call."""
PUSHBACK = "grpc-retry-pushback-ms"
"""Trailing metadata: the time to wait before a retry; -1 forbids it."""
DOMAIN = "onward"

_STATUS_DETAILS = "grpc-status-details-bin"
_NO_RETRY = "-1"
_ELSEWHERE_RETRY_S = 0.5
RETRY_SPREAD = 0.75, 1.4
"""Retry delays are multiplied by a random factor in this range, so that clients do not all retry at once."""
_MAX_STATUS_BYTES = 4096
_MAX_MESSAGE_BYTES = 512
_MAX_VALUE_BYTES = 256
"""By default, a client accepts 8 KiB of trailers. If there are more, it reports RESOURCE_EXHAUSTED instead."""

Trailers = tuple[tuple[str, str | bytes], ...]


class DeadlineExceeded(OnwardError):
    """The call reached the server's own time limit."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the call took longer than {limit_s:g} s, the time limit of this server")


class StreamStalled(OnwardError):
    """The client did not read its stream."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the client has read nothing of the stream for {limit_s:g} s, the limit of this server")


class UnknownMethod(OnwardError):
    """The call is of a method that the server does not have."""

    def __init__(self) -> None:
        super().__init__("the server has no such method; the client may be newer than the server")


class ResponseTooLarge(OnwardError):
    """A response does not fit in one gRPC message."""

    def __init__(self, *, message_bytes: int, max_message_bytes: int) -> None:
        self.message_bytes = message_bytes
        self.max_message_bytes = max_message_bytes
        super().__init__(
            f"the response has {message_bytes} bytes; at most {max_message_bytes} are allowed; request less in one "
            "call, such as fewer choices, tokens or log probabilities, or a shorter text"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The parts of a gRPC status and its trailers."""

    code: grpc.StatusCode
    reason: str = ""
    """A name of `onward.v1.ErrorReason` without its prefix; empty: the status has no `ErrorInfo`."""
    message: str
    details: tuple[Message, ...] = ()
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_after_s: float | None = None
    forbids_retry: bool = False


def failure(error: BaseException) -> Failure:
    """Returns the status of an error, according to the table above."""
    match error:
        case InvalidRequest():
            failed = Failure(
                code=grpc.StatusCode.INVALID_ARGUMENT,
                reason=error.reason.value,
                message=str(error),
                violations=error.violations,
                metadata=error.metadata,
            )
        case ModelNotFound():
            resource = ResourceInfo(resource_type="onward.v1.Model", resource_name=_clip(error.model, _MAX_VALUE_BYTES))
            failed = Failure(
                code=grpc.StatusCode.NOT_FOUND,
                reason="MODEL_NOT_FOUND",
                message=str(error),
                details=(resource,),
                metadata={"available": ", ".join(error.available)},
            )
        case CredentialsInvalid():
            failed = Failure(code=grpc.StatusCode.UNAUTHENTICATED, reason="CREDENTIALS_INVALID", message=str(error))
        case EngineOverloaded():
            failed = Failure(
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                reason="QUEUE_FULL",
                message=str(error),
                metadata={"queue_depth": str(error.queue_depth), "queue_limit": str(error.queue_limit)},
                retry_after_s=error.retry_after_s,
            )
        case ServerDraining() | ModelsLoading():
            is_loading = isinstance(error, ModelsLoading)
            failed = Failure(
                code=grpc.StatusCode.UNAVAILABLE,
                reason="MODEL_LOADING" if is_loading else "SERVER_DRAINING",
                message=str(error),
                retry_after_s=error.retry_after_s if is_loading else _ELSEWHERE_RETRY_S,
            )
        case EngineFailed() if not isinstance(error, LogitsNotFinite):
            failed = Failure(
                code=grpc.StatusCode.UNAVAILABLE,
                reason="ENGINE_FAILURE",
                message="the engine failed while it processed this request; retry, on another server if there is one",
                retry_after_s=_ELSEWHERE_RETRY_S,
            )
        case ResponseTooLarge():
            failed = Failure(
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                reason="MESSAGE_TOO_LARGE",
                message=str(error),
                metadata={
                    "message_bytes": str(error.message_bytes),
                    "max_message_bytes": str(error.max_message_bytes),
                },
                forbids_retry=True,
            )
        case DeadlineExceeded() | StreamStalled():
            failed = Failure(code=grpc.StatusCode.DEADLINE_EXCEEDED, message=str(error))
        case UnknownMethod():
            failed = Failure(code=grpc.StatusCode.UNIMPLEMENTED, message=str(error))
        case _:
            failed = Failure(
                code=grpc.StatusCode.INTERNAL,
                reason="ENGINE_FAILURE",
                message="the server failed to process this request; its log has the cause under the request id",
            )
    return failed


def status_and_trailers(failed: Failure, request_id: str) -> tuple[str, Trailers]:
    """Returns the status message, and the trailers with its details."""
    details: list[Message] = [RequestInfo(request_id=request_id), *failed.details]
    trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id), SERVER_VERSION]
    if failed.retry_after_s is not None:
        retry_after_ms = round(failed.retry_after_s * 1000 * random.uniform(*RETRY_SPREAD))  # noqa: S311
        details.append(RetryInfo(retry_delay=encode.duration(retry_after_ms / 1000)))
        trailers.append((PUSHBACK, str(retry_after_ms)))
    if failed.forbids_retry:
        trailers.append((PUSHBACK, _NO_RETRY))
    status = _status(failed, details, failed.violations)
    kept = len(failed.violations)
    while status.ByteSize() > _MAX_STATUS_BYTES and kept:
        kept //= 2
        status = _status(failed, details, failed.violations[:kept])
    trailers.append((_STATUS_DETAILS, status.SerializeToString()))
    return status.message, tuple(trailers)


def _status(failed: Failure, details: Sequence[Message], violations: Sequence[FieldViolation]) -> Status:
    """The status with these violations, and the number of those that were left out."""
    metadata = {key: _clip(value, _MAX_VALUE_BYTES) for key, value in failed.metadata.items()}
    if omitted := len(failed.violations) - len(violations):
        metadata["omitted_violations"] = str(omitted)
    packed = list(details)
    if failed.reason:
        packed.append(ErrorInfo(reason=failed.reason, domain=DOMAIN, metadata=metadata))
    if violations:
        packed.append(BadRequest(field_violations=[_field_violation(violation) for violation in violations]))
    status = Status(code=failed.code.value[0], message=_clip(failed.message, _MAX_MESSAGE_BYTES))
    for detail in packed:
        status.details.append(_any(detail))
    return status


def _field_violation(violation: FieldViolation) -> BadRequest.FieldViolation:
    return BadRequest.FieldViolation(
        field=_clip(violation.field, _MAX_VALUE_BYTES),
        description=_clip(violation.description, _MAX_MESSAGE_BYTES),
        reason=violation.reason.value,
    )


def _any(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _clip(text: str, max_bytes: int) -> str:
    """The text, shortened to at most `max_bytes` of UTF-8 at a character boundary."""
    data = text.encode(errors="replace")
    if len(data) <= max_bytes:
        return text
    return data[: max_bytes - len("…".encode())].decode(errors="ignore") + "…"
