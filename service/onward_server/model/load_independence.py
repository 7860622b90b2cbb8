"""Measures whether the output of a model depends on the batch."""

import numpy as np

from onward_server.model.causal_lm import CausalLM, Logits
from onward_server.model.slot_causal_lm import SlotCausalLM


def measure_load_independence(model: CausalLM) -> bool:
    """Returns whether a probe gives the same bits alone, in batches of 2, 8 and all slots, and in chunks.

    If a SlotCausalLM gives other bits for a single row, its runs are padded to two rows from then on. All slots are
    empty before and after.
    """
    crowded = _probe(model, model.num_slots)
    if isinstance(model, SlotCausalLM) and not np.array_equal(_probe(model, 1), crowded):
        model.min_decode_rows = 2
    sizes = {min(num_rows, model.num_slots) for num_rows in (1, 2, 8)}
    return all(np.array_equal(_probe(model, size), crowded) for size in sizes) and _is_chunk_invariant(model)


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


def _prompt_length(model: CausalLM) -> int:
    return min(4, model.context_length - 1)


def _token_ids(model: CausalLM, count: int, *, salt: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (np.arange(1, count + 1, dtype=np.int64) * 7919 + salt * 104729) % model.vocabulary_size
