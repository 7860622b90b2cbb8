"""The exceptions that the service raises; `api/status.py` maps them to gRPC statuses.

OnwardError
├── InvalidRequest        the request is invalid; it has one violation for each bad field
├── ModelNotFound         no served model has the requested id or alias
├── CredentialsInvalid    the API key is missing or unknown
├── EngineOverloaded      the queue is full; the caller may retry after `retry_after_s`
├── ServerDraining        the server is shutting down
├── ModelsLoading         the server listens, but its models are still loading
├── EngineFailed          a run of the model, or the engine itself, failed; another server may succeed
│   └── LogitsNotFinite   the model returned logits that are not finite, as it would on any server
└── StartupError          the server cannot start; the message says why and what to do
    ├── ModelFolderError  a model folder cannot be served
    ├── ExportError       a checkpoint or GGUF file cannot be exported
    └── HubError          a model cannot be downloaded from the Hugging Face hub
        └── HubUnreachable   the hub cannot be reached, or is too busy
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_VIOLATIONS = 64
"""Maximum number of violations that are reported for one request; it bounds the cost of a hostile one."""


class OnwardError(Exception):
    """Base class of the exceptions that the service raises."""


class InvalidReason(StrEnum):
    """Why a request is invalid: the names of `onward.v1.ErrorReason` without their prefix."""

    INVALID_PARAMETER = "INVALID_PARAMETER"
    INVALID_MESSAGES = "INVALID_MESSAGES"
    INVALID_RESPONSE_FORMAT = "INVALID_RESPONSE_FORMAT"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    UNSUPPORTED_BY_MODEL = "UNSUPPORTED_BY_MODEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One bad field of a request."""

    field: str
    """Path in the request, such as `messages[2].tool_call_id`."""
    description: str
    """What is wrong: the value, what is allowed and, where it helps, what to do."""
    reason: InvalidReason = InvalidReason.INVALID_PARAMETER


class InvalidRequest(OnwardError):
    """A request is invalid. Its reason is that of its first violation."""

    def __init__(self, violations: Sequence[FieldViolation], metadata: Mapping[str, str] | None = None) -> None:
        """Takes at least one violation, and figures for `google.rpc.ErrorInfo.metadata`."""
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))

    @property
    def reason(self) -> InvalidReason:
        """The reason that the gRPC status reports."""
        return self.violations[0].reason

    @classmethod
    def of(
        cls, field: str, description: str, reason: InvalidReason = InvalidReason.INVALID_PARAMETER
    ) -> "InvalidRequest":
        """An error with a single violation."""
        return cls([FieldViolation(field=field, description=description, reason=reason)])


class ModelNotFound(OnwardError):
    """No served model has the requested id or alias."""

    def __init__(self, model: str, available: Sequence[str]) -> None:
        self.model = model
        self.available = tuple(available)
        super().__init__(f"model: {model!r} is not served here; the models are {', '.join(available)}")


class CredentialsInvalid(OnwardError):
    """The call has no API key, or one that is not in the key file."""


class EngineOverloaded(OnwardError):
    """The queue of waiting choices is full."""

    def __init__(self, *, queue_depth: int, queue_limit: int, retry_after_s: float) -> None:
        self.queue_depth = queue_depth
        self.queue_limit = queue_limit
        self.retry_after_s = retry_after_s
        super().__init__(
            f"the queue is full: {queue_depth} choices are waiting, at most {queue_limit} may; "
            f"retry after {retry_after_s:.1f} s"
        )


class ServerDraining(OnwardError):
    """The server is shutting down and accepts no more requests."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; retry on another replica")


class ModelsLoading(OnwardError):
    """The server listens, but its models are still loading."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the server is still loading its models; retry after {retry_after_s:.0f} s")


class EngineFailed(OnwardError):
    """A run of the model, or the engine itself, failed. The cause is logged and not sent to the caller."""


class LogitsNotFinite(EngineFailed):
    """The model returned an infinite logit, or one that is not a number."""

    def __init__(self, logit: float) -> None:
        super().__init__(f"the model returned a logit of {logit}; logits must be finite")


class StartupError(OnwardError):
    """The server cannot start."""


class ModelFolderError(StartupError):
    """A model folder cannot be served."""


class ExportError(StartupError):
    """A checkpoint or GGUF file cannot be exported."""


class HubError(StartupError):
    """A model cannot be downloaded from the Hugging Face hub."""


class HubUnreachable(HubError):
    """The hub cannot be reached, or is too busy to serve a request."""

    def __init__(self, message: str, *, is_busy: bool = False, retry_after_s: float | None = None) -> None:
        """Takes the hub's response, if there is one.

        Args:
            message: One sentence.
            is_busy: Whether it responded that it is too busy.
            retry_after_s: The delay that it asks for; None if it asks for none.
        """
        self.is_busy = is_busy
        self.retry_after_s = retry_after_s
        super().__init__(message)
