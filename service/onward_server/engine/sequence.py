"""A request inside the engine, with a sequence for each of its choices.

    WAITING ──slots──▶ PREFILLING ──last chunk──▶ DECODING ──▶ finished
                            ▲                        │
                            └──── switch length ─────┘

The state is not stored: a sequence without a slot is waiting or finished, one with a `Prefill` is prefilling, and any
other is decoding. A sequence finishes exactly once, and its slot is freed exactly once. At the model's switch length
(see `CausalLM.switch_length`) the keys and values of a sequence are computed again, with all its tokens.
"""

from collections import abc, deque
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
    """None: waiting or finished."""
    prefill: "Prefill | None" = None
    """The tokens to run before it decodes; None: it decodes, waits or has finished."""
    token_ids: list[int] = field(default_factory=list[int])
    """Tokens sampled or forced so far."""
    matcher: GrammarMatcher | None = None
    """State of its constraint; None: unconstrained, or still waiting."""
    forced_ids: deque[int] = field(default_factory=deque[int])
    """The next tokens if the constraint allows only them; they are appended without sampling."""
    changes_logits: bool = field(init=False)
    """Whether bias or penalties apply; stored, because it is needed for every token."""

    def __post_init__(self) -> None:
        """Sets `changes_logits`."""
        params = self.request.sampling
        penalties = (params.frequency_penalty, params.presence_penalty, params.repetition_penalty - 1)
        self.changes_logits = bool(params.logit_bias) or any(penalties)

    def start(self, slot: int, prefill: "Prefill") -> None:
        """Gives the sequence its slot, its prompt and the start of its constraint."""
        self.slot = slot
        self.prefill = prefill
        if self.request.grammar is not None:
            self.matcher = self.request.grammar.matcher()

    @property
    def held_slot(self) -> int:
        """Its slot.

        Raises:
            AssertionError: It has none, because it is waiting or finished.
        """
        if self.slot is None:
            raise AssertionError(f"choice {self.index} of {self.request.id} has no slot")
        return self.slot

    @property
    def prompt_ids(self) -> abc.Sequence[int]:
        """Token ids of the prompt."""
        return self.request.prompt_ids

    @property
    def sampling(self) -> SamplingParams:
        """Its sampling parameters."""
        return self.request.sampling

    @property
    def seed(self) -> int:
        """Its random seed."""
        return self.request.seeds[self.index]

    @property
    def position(self) -> int:
        """Index of the next token, counted from the start of the prompt."""
        return len(self.request.prompt_ids) + len(self.token_ids)


@dataclass(slots=True, kw_only=True, eq=False)
class Prefill:
    """Tokens to be run in chunks: a prompt, or all tokens of a sequence whose keys and values are computed again."""

    sequences: tuple[Sequence, ...]
    """They sample after the last token. The slot of the first takes the tokens, and is copied to the others."""
    token_ids: abc.Sequence[int]
    num_done: int = 0
    """Tokens in the slot of the first sequence."""
    num_passed_over: int = 0
    """Chunks run for others since the last one of this prefill."""

    @property
    def num_left(self) -> int:
        """Tokens that have not been run."""
        return len(self.token_ids) - self.num_done


@dataclass(slots=True, kw_only=True)
class SequenceGroup:
    """The sequences of one request: admitted together, prefilled once."""

    request: GenerationRequest
    sequences: tuple[Sequence, ...]

    @classmethod
    def of(cls, request: GenerationRequest) -> "SequenceGroup":
        """Makes a waiting group."""
        sequences = tuple(Sequence(request=request, index=index) for index in range(len(request.seeds)))
        return cls(request=request, sequences=sequences)

    @property
    def active(self) -> list[Sequence]:
        """Sequences that hold a slot."""
        return [sequence for sequence in self.sequences if sequence.slot is not None]
