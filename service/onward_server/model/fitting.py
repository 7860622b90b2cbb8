"""Makes a CausalLM with the slots and the context that fit in memory."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from onward_server.errors import EngineFailed, StartupError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.layout import MAX_ISOLATION_CHUNK
from onward_server.model.memory import resident_memory, size_text
from onward_server.model.memory_plan import (
    USUAL_SLOTS,
    Activations,
    MemoryBudget,
    MemoryPlan,
    ModelCosts,
    WantedSize,
    choose_size,
)
from onward_server.model.onnx_session import OnnxSession
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.trial_runs import measure_activations, measure_useful_slots

AnyCausalLM = SlotCausalLM | GrowingCausalLM


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A model with its planned memory."""

    causal_lm: AnyCausalLM
    costs: ModelCosts
    settled_bytes: int
    """What the process held after its first run and before its trial runs."""

    @property
    def plan(self) -> MemoryPlan:
        """The memory when all slots are full. Its context may have been shortened since the model was made."""
        return self.costs.plan(self.causal_lm.num_slots, self.causal_lm.context_length)

    def remaining_bytes(self) -> int:
        """What the model may still take after its trial runs, with all slots empty and their memory given back."""
        return self.plan.num_bytes_after(max(resident_memory() - self.settled_bytes, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitter:
    """Fits the caches of one session into memory."""

    layout: type[SlotCausalLM] | type[GrowingCausalLM]
    session: OnnxSession
    io: DecoderIO
    isolates_runs: bool
    """Whether its prompts are prefilled in runs of a fixed size, and one sequence decodes in a run."""
    prefill_chunk: int

    def fit(self, wanted: WantedSize, budget: MemoryBudget) -> FittedModel:
        """Chooses the slots and the context that are not set, and takes the address space of all slots.

        Raises:
            StartupError: They do not fit.
            EngineFailed: A trial run failed.
        """
        if not self.session.is_cpu:
            budget = MemoryBudget(read=lambda: None)  # it counts the memory of the host
        self._make(num_slots=1, context_length=2).prefill(0, np.zeros(1, np.int64))
        settled_bytes = resident_memory()
        costs = self._costs(wanted, budget)
        plan = choose_size(costs, wanted, budget, partial(self._useful_slots, wanted.context_length))
        causal_lm = self._make(num_slots=plan.num_slots, context_length=plan.context_length)
        return FittedModel(causal_lm=causal_lm, costs=costs, settled_bytes=settled_bytes)

    def _make(self, *, num_slots: int, context_length: int) -> AnyCausalLM:
        size = {"num_slots": num_slots, "context_length": context_length}
        chunk = min(self.prefill_chunk, MAX_ISOLATION_CHUNK)
        try:
            causal_lm = self.layout(self.session, self.io, isolation_chunk=chunk, **size)
        except MemoryError as error:
            raise StartupError(
                f"the KV cache ({num_slots} slots of {context_length} tokens) takes "
                f"{size_text(self.layout.cache_bytes(self.io, **size))}, which could not be allocated: {error}; "
                "lower --slots or --context-length"
            ) from error
        if self.isolates_runs:
            causal_lm.isolate_runs()
        return causal_lm

    def _costs(self, wanted: WantedSize, budget: MemoryBudget) -> ModelCosts:
        is_growing = self.layout is GrowingCausalLM
        max_chunk = self.prefill_chunk
        if is_growing and self.io.cache_branch is not None:  # a prompt is one run
            max_chunk = wanted.context_length
        costs = ModelCosts(
            cache_bytes=partial(self.layout.cache_bytes, self.io),
            logits_bytes=self.io.logits_bytes,
            vocabulary_size=self.io.vocabulary_size,
            activations=Activations(),
            max_chunk=1 if self.io.takes_single_tokens else max_chunk,
        )
        available = budget.available()
        if not self.session.is_cpu or available is None:
            return costs
        context_length = costs.longest_context(1, wanted.context_length, available.num_bytes)
        if context_length is None:
            return costs
        with suppress(EngineFailed):  # at a length that the graph does not support; the checks of the context report it
            activations = measure_activations(
                self._make, self.io, is_growing=is_growing, context_length=context_length, max_chunk=costs.max_chunk
            )
            costs = replace(costs, activations=activations)
        return costs

    def _useful_slots(self, context_length: int, num_fitting: int) -> int:
        if self.layout is GrowingCausalLM or self.isolates_runs or not self.session.is_cpu:
            return USUAL_SLOTS
        return measure_useful_slots(self._make, num_fitting, context_length)
