"""A request inside the engine and its sequences, one a choice.

    WAITING ──slots──▶ PREFILLING ──last chunk──▶ DECODING ──▶ finished

The states are not stored: a request without slots waits, one with prompt tokens left prefills, the rest decode. A
sequence finishes exactly once, and its slot is freed exactly once.
"""

from collections import deque
from collections.abc import Sequence as ReadOnly
from dataclasses import dataclass, field

from onward_server.engine.generation import GenerationRequest
from onward_server.grammar.matcher import GrammarMatcher
from onward_server.sampling import SamplingParams


@dataclass(slots=True, kw_only=True)
class Sequence:
    """One choice of a request."""

    request: GenerationRequest
    index: int
    slot: int | None = None
    """None: waiting, or finished."""
    token_ids: list[int] = field(default_factory=list[int])
    """Drawn so far."""
    matcher: GrammarMatcher | None = None
    """Where it stands in its constraint; None: it is free."""
    forced_ids: deque[int] = field(default_factory=deque[int])
    """What the constraint leaves no choice about; taken next, without a draw."""
    changes_logits: bool = field(init=False)
    """Whether bias or penalties do; fixed by the request, and asked at every token."""

    def __post_init__(self) -> None:
        """Works out what does not change."""
        params = self.request.sampling
        penalties = (params.frequency_penalty, params.presence_penalty, params.repetition_penalty - 1)
        self.changes_logits = bool(params.logit_bias) or any(penalties)

    def start(self, slot: int) -> None:
        """Admits it."""
        self.slot = slot
        if self.request.grammar is not None:
            self.matcher = self.request.grammar.matcher()

    @property
    def prompt_ids(self) -> ReadOnly[int]:
        """The prompt."""
        return self.request.prompt_ids

    @property
    def sampling(self) -> SamplingParams:
        """How its tokens are drawn."""
        return self.request.sampling

    @property
    def seed(self) -> int:
        """What its draws are hashed with."""
        return self.request.seeds[self.index]

    @property
    def position(self) -> int:
        """Index, prompt included, of the token to be drawn next."""
        return len(self.request.prompt_ids) + len(self.token_ids)


@dataclass(slots=True, kw_only=True)
class SequenceGroup:
    """The sequences of one request: admitted together, prefilled once."""

    request: GenerationRequest
    sequences: tuple[Sequence, ...]
    num_prefilled: int = 0
    """Prompt tokens that are in the first sequence's slot."""
    num_passed_over: int = 0
    """Prefill chunks that others got since its last one."""

    @classmethod
    def of(cls, request: GenerationRequest) -> "SequenceGroup":
        """A waiting group."""
        sequences = tuple(Sequence(request=request, index=index) for index in range(len(request.seeds)))
        return cls(request=request, sequences=sequences)

    @property
    def num_prompt_left(self) -> int:
        """Prompt tokens still to be prefilled."""
        return len(self.request.prompt_ids) - self.num_prefilled

    @property
    def active(self) -> list[Sequence]:
        """Sequences that hold a slot."""
        return [sequence for sequence in self.sequences if sequence.slot is not None]
