"""Measures whether the output for a sequence depends on the others, and the greatest length at which it does not.

Runs at a great length are cheap: the length of a slot is set, and the keys and values of its tokens stay zeros.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import CausalLM, Logits
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.slot_causal_lm import SlotCausalLM

_TOLERANCE, _CUDA_TOLERANCE = 1e-3, 0.03
"""Largest difference that rounding explains, as a part of the range of values.

In fp16, CUDA uses different kernels for different lengths. Graphs that switch their rotation differed by 0.2 or more.
"""
_SHORT = 16


def run_once(model: CausalLM) -> None:
    """Prefills and decodes, with all slots empty before and after.

    Raises:
        EngineFailed: The graph does not run.
    """
    _probe(model, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRuns:
    """The result of runs of a great length."""

    context_length: int
    """The greatest length of a run that leaves the results of its shorter rows unchanged."""
    are_exact: bool
    """Whether it leaves them unchanged to the bit."""


def measure_long_runs(model: SlotCausalLM | GrowingCausalLM) -> LongRuns:
    """Finds the greatest length of a run that does not change the results of its shorter rows.

    A graph may compute positions differently once a run is long, as long-rope graphs do (see decision 0031). Then
    a long row changes the results of the others, and new keys do not match those in the cache. All slots are empty
    before and after.

    Raises:
        EngineFailed: The graph does not support the last position of the context.
    """
    whole = model.context_length
    expected = _values_at(model, min(_SHORT, whole))
    if whole <= _SHORT or model.fixed_chunk is not None or not expected.size:
        model.run_at_end()
        return LongRuns(context_length=whole, are_exact=True)
    tolerance = _TOLERANCE if model.is_on_cpu else _CUDA_TOLERANCE

    def are_close(found: npt.NDArray[np.float32]) -> bool:
        return bool(np.abs(found - expected).max() <= tolerance * np.ptp(expected))

    found = _values_at(model, whole)  # which also runs at the end of the context
    if are_close(found):
        return LongRuns(context_length=whole, are_exact=np.array_equal(found, expected))
    low, high = _SHORT, whole
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if are_close(_values_at(model, middle)) else (low, middle)
    return LongRuns(context_length=low, are_exact=np.array_equal(_values_at(model, low), expected))


def measure_load_independence(model: CausalLM, *, are_long_runs_exact: bool = True) -> bool:
    """Returns whether a probe gives the same bits alone, in batches of 2, 8 and all slots, and in chunks.

    If a SlotCausalLM gives other bits for a single row, its runs are padded to two rows from then on. If that is not
    enough, or long runs are not exact (see `LongRuns`), its runs are isolated (see `SlotCausalLM.isolate_runs`). All
    slots are empty before and after.
    """
    if are_long_runs_exact and _is_independent(model):
        return True
    return isinstance(model, SlotCausalLM | GrowingCausalLM) and model.isolate_runs() and _is_independent(model)


def _is_independent(model: CausalLM) -> bool:
    """Whether the probes agree; pads lone rows of a SlotCausalLM if that helps."""
    alone, *crowded = [_probe(model, min(size, model.num_slots)) for size in (1, 2, 8, model.num_slots)]
    if isinstance(model, SlotCausalLM) and not np.array_equal(alone, crowded[-1]):
        model.min_decode_rows = 2
        alone = _probe(model, 1)
    return all(np.array_equal(alone, other) for other in crowded) and _is_chunk_invariant(model)


def _probe(model: CausalLM, num_rows: int) -> Logits:
    """Logits (V,) of slot 0 after a decode run of `num_rows` slots."""
    slots = range(num_rows)
    for slot in slots[:2]:
        model.prefill(slot, _token_ids(model, _prompt_length(model), salt=slot))
    for slot in slots[2:]:
        model.copy(1, slot)
    logits = model.decode(slots, [int(_token_ids(model, 1, salt=slot)[0]) for slot in slots])[0].copy()
    for slot in slots:
        model.release(slot)
    return logits


def _is_chunk_invariant(model: CausalLM) -> bool:
    if model.context_length < 4 or model.fixed_chunk is not None:
        return True
    token_ids = _token_ids(model, min(7, model.context_length), salt=0)
    whole = model.prefill(0, token_ids).copy()
    model.release(0)
    model.prefill(0, token_ids[:2])
    chunked = model.prefill(0, token_ids[2:]).copy()
    model.release(0)
    return np.array_equal(whole, chunked)


def _values_at(model: SlotCausalLM | GrowingCausalLM, length: int) -> npt.NDArray[np.float32]:
    """The values that the model computes in a run of that length for a token near the start of its sequence."""
    whole, model.context_length = model.context_length, length
    try:
        return model.probe_length(_token_ids(model, 8, salt=0))
    finally:
        model.context_length = whole


def _prompt_length(model: CausalLM) -> int:
    return min(4, model.context_length - 1)


def _token_ids(model: CausalLM, count: int, *, salt: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (np.arange(1, count + 1, dtype=np.int64) * 7919 + salt * 104729) % model.vocabulary_size
