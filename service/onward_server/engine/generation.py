"""What goes into the engine and what comes out: token ids in, token events out; it knows no text."""

from collections.abc import Sequence
from dataclasses import dataclass

from onward_server.domain import FinishReason, StopCause
from onward_server.errors import EngineFailed, InvalidRequest
from onward_server.grammar.compiler import Grammar
from onward_server.sampling import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and the answers to draw for it; validated above, so the engine can serve it.

    `prompt_ids` is not empty, `len(prompt_ids) + sampling.max_tokens - 1` fits the context, and `len(seeds)` the slots.
    """

    id: str
    prompt_ids: Sequence[int]
    sampling: SamplingParams
    seeds: tuple[int, ...]
    """One a choice."""
    eos_token_ids: frozenset[int] = frozenset()
    top_logprobs: int | None = None
    """None: no log probabilities."""
    grammar: Grammar | None = None
    """Binds every choice; None: they are free."""
    length_reason: FinishReason = FinishReason.LENGTH
    """What reaching `max_tokens` means: CONTEXT_LENGTH where the window set it."""


@dataclass(frozen=True, slots=True)
class RawLogprobs:
    """Natural-log probabilities under the model, before penalties, bias, temperature and constraints."""

    chosen: float
    top: tuple[tuple[int, float], ...]
    """Token ids with theirs, best first, ties by id."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Why a sequence ended; `cause` is set for STOP."""

    reason: FinishReason
    cause: StopCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillStarted:
    """The first chunk of a request's prompt ran in this step."""

    request_id: str


@dataclass(slots=True, kw_only=True)
class TokenSampled:
    """One token of one choice; with `finish` its last event. Not frozen, for speed."""

    request_id: str
    index: int
    token_id: int
    logprobs: RawLogprobs | None = None
    finish: Finish | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceExpired:
    """The time limit ended this choice; its last event."""

    request_id: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """A forward pass of this request failed; the last event for all of its choices."""

    request_id: str
    error: EngineFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFailed:
    """The logits of this choice were no numbers, or its constraint died; its last event."""

    request_id: str
    index: int
    error: EngineFailed | InvalidRequest


EngineEvent = PrefillStarted | TokenSampled | SequenceExpired | SequenceFailed | RequestFailed
