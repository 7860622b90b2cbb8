"""The input and output of the engine: generation requests and token events."""

from collections.abc import Sequence
from dataclasses import dataclass

from onward_server.domain import FinishReason, StopCause
from onward_server.errors import EngineFailed, InvalidRequest
from onward_server.grammar.compiler import Grammar
from onward_server.sampling import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A prompt and how to sample each of its choices.

    The sender guarantees that `prompt_ids` is not empty, that `len(prompt_ids) + sampling.max_tokens - 1` fits the
    context, and that there are at least `len(seeds)` slots.
    """

    id: str
    prompt_ids: Sequence[int]
    sampling: SamplingParams
    seeds: tuple[int, ...]
    """One random seed for each choice."""
    eos_token_ids: frozenset[int] = frozenset()
    top_logprobs: int | None = None
    """How many alternatives to report with each token; None: report no log probabilities."""
    grammar: Grammar | None = None
    """Constraint on every choice; None: unconstrained."""
    length_reason: FinishReason = FinishReason.LENGTH
    """Finish reason at `max_tokens`; CONTEXT_LENGTH if the context length set that limit."""


@dataclass(frozen=True, slots=True)
class RawLogprobs:
    """Natural-log probabilities under the model, before penalties, bias, temperature and constraints."""

    chosen: float
    """Of the sampled token."""
    top: tuple[tuple[int, float], ...]
    """Token ids with their log probabilities, most likely first, ties by lowest id."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Why a sequence finished; `cause` is set if the reason is STOP."""

    reason: FinishReason
    cause: StopCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAdmitted:
    """A request got the slots of all its choices at the start of this step."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillStarted:
    """The first chunk of a request's prompt ran in this step."""

    request_id: str


@dataclass(slots=True, kw_only=True)
class TokenSampled:
    """A token of one choice; the last event of the choice if `finish` is set. Not frozen, for speed."""

    request_id: str
    index: int
    token_id: int
    logprobs: RawLogprobs | None = None
    finish: Finish | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceExpired:
    """A choice reached the time limit. Its last event."""

    request_id: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """A run with this request failed. The last event of all its choices."""

    request_id: str
    error: EngineFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFailed:
    """A choice got logits that are not finite, or its constraint failed. Its last event."""

    request_id: str
    index: int
    error: EngineFailed | InvalidRequest


EngineEvent = RequestAdmitted | PrefillStarted | TokenSampled | SequenceExpired | SequenceFailed | RequestFailed
