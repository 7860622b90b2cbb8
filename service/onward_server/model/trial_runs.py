"""Measures what runs of a model cost, before its slots and its context are chosen.

The trials use caches of their own. What they leave behind is what onnxruntime keeps for the next run: its arena never
shrinks, so the intermediate tensors of the largest run stay.
"""

import logging
import time
from functools import partial
from typing import Protocol

import numpy as np

from onward_server.model.causal_lm import CausalLM
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.memory import resident_memory
from onward_server.model.memory_plan import USUAL_SLOTS, Activations

logger = logging.getLogger(__name__)

_FIRST_TOKENS = 16
_SIGNIFICANT_BYTES = 16 << 20
"""Trial runs get longer until they take this much more memory than the first one, and are then extrapolated. Those of
small models reach the real length."""
_TRIAL_S = 0.3
"""About how long the trial of decode runs of one size takes."""
_GROWING_POSITIONS = 1024
"""Context of the trials of growing caches, each run of which writes all of it."""
_MIN_GAIN = 0.1
"""Twice as many rows are useful if they decode this part more tokens a second."""
_STEP_CONTEXT = 64
_REPEATS = 3


class TrialModel(CausalLM, Protocol):
    """A model that can be tried at the end of its context."""

    def run_at_end(self, num_tokens: int = 1) -> None:
        """Runs the last tokens of the context, with all slots empty before and after."""
        ...

    def clear(self) -> None:
        """Gives the memory of all slots back to the system."""
        ...


class MakeModel(Protocol):
    """A cache layout with its session."""

    def __call__(self, *, num_slots: int, context_length: int) -> TrialModel:
        """Makes a model of this size."""
        ...


def measure_activations(
    make: MakeModel, io: DecoderIO, *, is_growing: bool, context_length: int, max_chunk: int
) -> Activations:
    """The memory that runs need for intermediate tensors.

    What the first run loads stays, whatever its size, so the model must have run before.

    Args:
        make: Makes a model for a trial.
        io: The inputs of the model.
        is_growing: Whether its caches grow, so that tensors are as long as the context.
        context_length: The longest context that may be served.
        max_chunk: Tokens of the largest prefill run.

    Raises:
        EngineFailed: A run failed.
    """
    positions = min(context_length, _GROWING_POSITIONS) if is_growing else context_length
    trial = partial(make, num_slots=1, context_length=positions)
    largest = 1 if io.takes_single_tokens else min(max_chunk, positions - 1)
    if is_growing and io.cache_branch is None:  # the same run at the start and at the end shows what positions take
        largest = min(largest, max(positions // 2, 1))
    settled = resident_memory()
    if is_growing:
        _run_at_end(trial(), 1)
    at_end = _grown_since(settled)
    if largest == 1:
        return Activations(per_position=at_end / positions, per_token=at_end)
    first_tokens = num_tokens = min(_FIRST_TOKENS, largest)
    _prefill(trial(), first_tokens)
    after_first = at_start = _grown_since(settled)
    while num_tokens < largest and at_start - after_first < _SIGNIFICANT_BYTES:
        num_tokens = min(4 * num_tokens, largest)
        _prefill(trial(), num_tokens)
        at_start = _grown_since(settled)
    if not is_growing:
        per_token = (at_start - after_first) / max(num_tokens - first_tokens, 1)
        return Activations(fixed=max(at_start - per_token * num_tokens, 0.0), per_token=per_token)
    if io.cache_branch is not None:  # a prompt is one run, whose attention is quadratic
        return Activations(per_token_and_position=at_start / num_tokens**2)
    _run_at_end(trial(), num_tokens)
    at_both = _grown_since(settled)
    per_position = at_end / positions
    product = max(at_both - at_start - per_position * (positions - num_tokens), 0.0)
    per_product = product / max(num_tokens * (positions - num_tokens), 1)
    return Activations(
        per_token=max(at_both - per_position * positions - per_product * num_tokens * positions, 0.0) / num_tokens,
        per_position=per_position,
        per_token_and_position=per_product,
    )


def measure_useful_slots(make: MakeModel, num_slots: int, context_length: int) -> int:
    """The largest number of rows, from 8 in doubles up to `num_slots`, for which a decode run is worth its duration.

    A context that is too short for the trials gets at most 8.

    Raises:
        EngineFailed: A run failed.
    """
    if num_slots <= USUAL_SLOTS or context_length < _STEP_CONTEXT:
        return min(num_slots, USUAL_SLOTS)
    causal_lm = make(num_slots=num_slots, context_length=_STEP_CONTEXT)
    causal_lm.prefill(0, np.zeros(2, np.int64))
    for slot in range(1, num_slots):
        causal_lm.copy(0, slot)
    useful, best_s = USUAL_SLOTS, _decode_duration_s(causal_lm, USUAL_SLOTS)
    while useful < num_slots:
        num_rows = min(2 * useful, num_slots)
        duration_s = _decode_duration_s(causal_lm, num_rows)
        is_useful = _is_useful(useful, best_s, num_rows, duration_s)
        logger.info(
            "decode runs of %d rows take %.1f ms, of %d rows %.1f ms: %s",
            *(useful, 1000 * best_s, num_rows, 1000 * duration_s),
            "more rows are useful" if is_useful else "more rows hardly help",
        )
        if not is_useful:
            break
        useful, best_s = num_rows, duration_s
    return useful


def _is_useful(few: int, few_s: float, many: int, many_s: float) -> bool:
    """Whether runs of `many` rows decode enough more tokens a second than runs of `few` rows."""
    gain = (many / many_s) / (few / few_s)
    return gain >= 1 + _MIN_GAIN * (many / few - 1)


def _grown_since(settled_bytes: int) -> int:
    """Bytes that the runs since then have left in memory."""
    return max(resident_memory() - settled_bytes, 0)


def _prefill(causal_lm: TrialModel, num_tokens: int) -> None:
    """Runs a prompt; its caches leave nothing behind."""
    causal_lm.prefill(0, np.zeros(num_tokens, np.int64))
    causal_lm.clear()


def _run_at_end(causal_lm: TrialModel, num_tokens: int) -> None:
    causal_lm.run_at_end(num_tokens)
    causal_lm.clear()


def _decode_duration_s(causal_lm: CausalLM, num_rows: int) -> float:
    """Median duration in seconds, after one run that is not counted."""
    durations: list[float] = []
    while len(durations) <= _REPEATS and sum(durations) < _TRIAL_S:
        started_s = time.perf_counter()
        causal_lm.decode(range(num_rows), [0] * num_rows)
        durations.append(time.perf_counter() - started_s)
    counted = sorted(durations[1:]) or durations
    return counted[len(counted) // 2]
