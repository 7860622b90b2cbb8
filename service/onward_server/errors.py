"""The exception tree of the service; it does not know gRPC (`api/status.py` maps it to status codes).

OnwardError
├── InvalidRequest        the caller's fault, with one violation per bad field
├── ModelNotFound         no such model here
├── CredentialsInvalid    no key, or not one of ours
├── EngineOverloaded      the queue is full; come back after `retry_after_s`
├── ServerDraining        shutting down; another replica will answer
├── EngineFailed          our fault: one Run, or the whole engine, failed
└── StartupError          the server can not start; the message says why and what to do
    └── ModelFolderError  the same, for a model folder that cannot be served
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class OnwardError(Exception):
    """Base of everything the service raises on purpose."""


class InvalidReason(StrEnum):
    """Why a request is invalid: `onward.v1.ErrorReason` names without their prefix."""

    INVALID_PARAMETER = "INVALID_PARAMETER"
    INVALID_MESSAGES = "INVALID_MESSAGES"
    INVALID_RESPONSE_FORMAT = "INVALID_RESPONSE_FORMAT"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    UNSUPPORTED_BY_MODEL = "UNSUPPORTED_BY_MODEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One bad field."""

    field: str
    """Path in the request, such as `messages[2].tool_call_id`."""
    description: str
    """What was wrong, the value, what is allowed."""
    reason: InvalidReason = InvalidReason.INVALID_PARAMETER


class InvalidRequest(OnwardError):
    """A request that cannot be served as asked; its reason is that of the first violation."""

    def __init__(self, violations: Sequence[FieldViolation], metadata: Mapping[str, str] | None = None) -> None:
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))

    @property
    def reason(self) -> InvalidReason:
        """The reason that the status reports."""
        return self.violations[0].reason

    @classmethod
    def of(
        cls, field: str, description: str, reason: InvalidReason = InvalidReason.INVALID_PARAMETER
    ) -> "InvalidRequest":
        """The common case of a single violation."""
        return cls([FieldViolation(field=field, description=description, reason=reason)])


class ModelNotFound(OnwardError):
    """No served model has this id or alias."""

    def __init__(self, model: str, available: Sequence[str]) -> None:
        self.model = model
        self.available = tuple(available)
        super().__init__(f"model {model!r} is not served here; available: {', '.join(available)}")


class CredentialsInvalid(OnwardError):
    """The call carries no API key, or one that is not in the key file."""


class EngineOverloaded(OnwardError):
    """The queue is full."""

    def __init__(self, *, queue_depth: int, queue_limit: int, retry_after_s: float) -> None:
        self.queue_depth = queue_depth
        self.queue_limit = queue_limit
        self.retry_after_s = retry_after_s
        super().__init__(
            f"the queue is full ({queue_depth} of {queue_limit} answers wait); retry after {retry_after_s:.1f} s"
        )


class ServerDraining(OnwardError):
    """The server is shutting down and takes no new requests."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; retry, another replica will answer")


class EngineFailed(OnwardError):
    """A forward pass or the engine itself failed; the cause is logged, never sent."""


class StartupError(OnwardError):
    """The server cannot start."""


class ModelFolderError(StartupError):
    """A model folder that cannot be served."""
