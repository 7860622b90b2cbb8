"""Plans the memory of a model, and chooses its number of slots and its context by what fits."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from onward_server.errors import StartupError
from onward_server.model.memory import Available, available_memory, size_text

logger = logging.getLogger(__name__)

MAX_CHOSEN_SLOTS = 32
"""Slots that are chosen at most if none are set."""
USUAL_SLOTS = 8
"""Slots that are chosen if they fit, even if larger runs are no faster: a short call need not wait for a long one."""
_UNKNOWN_CONTEXT_LENGTH = 4096
"""The longest context that is chosen if the available memory is unknown, as on CUDA."""
_SHARE = 0.8
"""Part of the available memory that is planned if slots or context are not set; the rest is left to other processes."""
_CALL_BYTES = 16 << 20
"""For calls that are being served, whatever the model."""
_TABLE_BYTES_PER_TOKEN = 512
"""Of the vocabulary, for the tables of constraints."""
_STEP = 64
"""A context length that is chosen is a multiple of this, as the capacity of slots is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Bytes of the intermediate tensors of a run of S tokens that ends at position T of its context."""

    fixed: float = 0.0
    per_token: float = 0.0
    per_position: float = 0.0
    per_token_and_position: float = 0.0

    def num_bytes(self, num_tokens: int, end: int) -> int:
        """Bytes for S = `num_tokens` and T = `end`."""
        per_token = self.per_token + self.per_token_and_position * end
        return int(self.fixed + per_token * num_tokens + self.per_position * end)


class CacheBytes(Protocol):
    """Tells the size of a cache layout."""

    def __call__(self, *, num_slots: int, context_length: int) -> int:
        """Bytes of the KV memory."""
        ...


class LogitsBytes(Protocol):
    """Tells the size of the logits of the largest step."""

    def __call__(self, *, num_slots: int, prefill_chunk: int) -> int:
        """Bytes of the logits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCosts:
    """What a model takes beyond its weights."""

    cache_bytes: CacheBytes
    logits_bytes: LogitsBytes
    vocabulary_size: int
    activations: Activations
    max_chunk: int
    """Tokens of the largest prefill run, if the context is as long."""

    def plan(self, num_slots: int, context_length: int) -> "MemoryPlan":
        """The memory for this many slots of this context."""
        chunk = min(self.max_chunk, context_length)
        run = max(chunk + 1, num_slots)
        return MemoryPlan(
            num_slots=num_slots,
            context_length=context_length,
            cache_bytes=self.cache_bytes(num_slots=num_slots, context_length=context_length),
            logits_bytes=self.logits_bytes(num_slots=num_slots, prefill_chunk=chunk),
            activation_bytes=self.activations.num_bytes(run, context_length),
            table_bytes=_TABLE_BYTES_PER_TOKEN * self.vocabulary_size,
        )

    def most_slots(self, context_length: int, limit: int, num_bytes: int) -> int | None:
        """The most slots up to `limit` that fit with this context; None: not even one."""
        return _largest(lambda num_slots: self.plan(num_slots, context_length).num_bytes <= num_bytes, limit)

    def longest_context(self, num_slots: int, limit: int, num_bytes: int) -> int | None:
        """The longest context up to `limit` of which this many slots fit; None: they never do."""
        if self.plan(num_slots, limit).num_bytes <= num_bytes:
            return limit
        steps = _largest(lambda count: self.plan(num_slots, count * _STEP).num_bytes <= num_bytes, limit // _STEP)
        return None if steps is None else steps * _STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The memory of a model beyond its weights when all slots are full. It is taken as it is used."""

    num_slots: int
    context_length: int
    cache_bytes: int
    logits_bytes: int
    activation_bytes: int
    table_bytes: int
    """For the tables of constraints."""
    call_bytes: int = _CALL_BYTES

    @property
    def num_bytes(self) -> int:
        """The sum."""
        return self.cache_bytes + self.logits_bytes + self.activation_bytes + self.table_bytes + self.call_bytes

    def num_bytes_after(self, held_bytes: int) -> int:
        """What is still to be taken when all is loaded, and the trial runs have left `held_bytes` for later runs."""
        return self.num_bytes - self.table_bytes - min(held_bytes, self.activation_bytes)

    def __str__(self) -> str:
        return (
            f"KV cache of {self.num_slots} slots of {self.context_length:,} tokens {size_text(self.cache_bytes)} + "
            f"logits {size_text(self.logits_bytes)} + intermediate results {size_text(self.activation_bytes)} + "
            f"constraints {size_text(self.table_bytes)} + calls {size_text(self.call_bytes)} = "
            f"{size_text(self.num_bytes)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSize:
    """The slots and the context that the operator wants; None: what fits."""

    num_slots: int | None
    max_context_length: int | None
    model_context_length: int

    @property
    def context_length(self) -> int:
        """The longest context that may be chosen."""
        return min(self.model_context_length, self.max_context_length or self.model_context_length)


class MemoryBudget:
    """The memory for models that are loaded one after the other. What they plan is taken later, when it is used."""

    def __init__(self, weight_bytes: Sequence[int] = (0,), read: Callable[[], Available | None] | None = None) -> None:
        """Records how much each model needs at least.

        Args:
            weight_bytes: Size of the weights of each model, in the order in which they are loaded.
            read: Returns the memory that is available to this process. Default: `available_memory`.
        """
        self._to_load = deque(weight_bytes)
        self._read = read or available_memory
        self._planned_bytes = 0

    def available(self) -> Available | None:
        """The memory that no model has planned; None: unknown."""
        found = self._read()
        if found is None:
            return None
        return Available(num_bytes=max(found.num_bytes - self._planned_bytes, 0), limit=found.limit)

    def share(self, available: Available) -> int:
        """Bytes that the next model may choose to plan, when its weights are loaded.

        Each model that is not loaded yet gets an equal part of what the weights of the later ones leave.
        """
        later_bytes = sum(self._to_load) - self._to_load[0]
        return max(int((available.num_bytes - later_bytes) * _SHARE), 0) // len(self._to_load)

    def take(self, num_bytes: int) -> None:
        """Records what the next model may still take when it is loaded."""
        self._planned_bytes += num_bytes
        self._to_load.popleft()


def require_memory(what: str, num_bytes: int, available: Available | None, advice: str) -> None:
    """Raises StartupError if that much memory is not available."""
    if available is not None and num_bytes > available.num_bytes:
        raise StartupError(
            f"{what} need {size_text(num_bytes)} of memory, but {available.limit} leaves "
            f"{size_text(available.num_bytes)}: {size_text(num_bytes - available.num_bytes)} is missing; {advice}"
        )


def choose_size(
    costs: ModelCosts, wanted: WantedSize, budget: MemoryBudget, useful_slots: Callable[[int], int]
) -> MemoryPlan:
    """Chooses the slots and the context that are not set, checks that all fits, and logs the arithmetic.

    Args:
        costs: What the model takes.
        wanted: What is set.
        budget: The memory.
        useful_slots: Given the number of slots that fit, returns up to how many larger runs are worth their duration.

    Raises:
        StartupError: It does not fit. The message names values that do.
    """
    available = budget.available()
    if available is None:
        is_set = wanted.max_context_length is not None
        context_length = wanted.context_length if is_set else min(wanted.context_length, _UNKNOWN_CONTEXT_LENGTH)
        plan = costs.plan(wanted.num_slots or USUAL_SLOTS, context_length)
        logger.info("memory beyond the weights: %s", plan)
        return plan
    share = budget.share(available)
    context_length = wanted.context_length
    if wanted.max_context_length is None:
        context_length = costs.longest_context(wanted.num_slots or 1, context_length, share) or context_length
    num_slots = wanted.num_slots
    if num_slots is None:
        fitting = costs.most_slots(context_length, MAX_CHOSEN_SLOTS, share) or 1
        num_slots = fitting if fitting <= USUAL_SLOTS else max(USUAL_SLOTS, useful_slots(fitting))
    plan = costs.plan(num_slots, context_length)
    if plan.num_bytes > available.num_bytes:
        raise StartupError(
            f"the KV cache of {num_slots} slots of {context_length} tokens, the logits of a run and its intermediate "
            f"results need {size_text(plan.num_bytes)} of memory, but {available.limit} leaves "
            f"{size_text(available.num_bytes)}; {_advice(costs, plan, available)}"
        )
    logger.info("memory beyond the weights: %s%s", plan, _reason(costs, wanted, plan, available, share))
    return plan


def _reason(costs: ModelCosts, wanted: WantedSize, plan: MemoryPlan, available: Available, share: int) -> str:
    """Why the plan was chosen, as the end of a sentence."""
    text = f", of {size_text(available.num_bytes)} that {available.limit} leaves"
    if wanted.num_slots is None or wanted.max_context_length is None:
        text += f" and {size_text(share)} that are planned at most"
    if plan.context_length < wanted.context_length:
        text += f"; the whole context of {wanted.context_length:,} tokens does not fit"
    if wanted.num_slots is None and plan.num_slots < USUAL_SLOTS:
        shorter = costs.longest_context(USUAL_SLOTS, plan.context_length, share)
        if shorter is not None:
            text += f"; --context-length {shorter} would give {USUAL_SLOTS} slots"
    return text


def _advice(costs: ModelCosts, plan: MemoryPlan, available: Available) -> str:
    """What would fit: fewer slots, else a shorter context."""
    num_slots = costs.most_slots(plan.context_length, plan.num_slots, available.num_bytes)
    context_length: int | None = plan.context_length
    if num_slots is None:
        num_slots, context_length = 1, costs.longest_context(1, plan.context_length, available.num_bytes)
    if context_length is None:
        return "free memory, lower --prefill-chunk, or serve a smaller or quantized export"
    needed = costs.plan(num_slots, context_length).num_bytes
    return f"--slots {num_slots} --context-length {context_length} would need {size_text(needed)}"


def _largest(fits: Callable[[int], bool], limit: int) -> int | None:
    """The largest number in [1, limit] that fits; None: not even 1. If a number fits, so do all smaller ones."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low or None
