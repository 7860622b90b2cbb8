"""Comparing a rewritten model with its original finds every wrong one, wherever it is wrong."""

from collections.abc import Sequence

import numpy as np
import pytest

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.rewriting.comparison import (
    NUM_SLOTS,
    Tolerance,
    counterparts,
    expected_of,
    largest_difference,
    prompt_lengths,
)
from onward_server.model.rewriting.outcome import NotServed
from tests.fakes import FakeCausalLM, Script

_FP32 = Tolerance(difference=1e-3, tie=1e-5)
_WINDOW = 400


def sum_of(token_ids: Sequence[int]) -> int:
    return (sum(token_ids) + len(token_ids)) % 100


def model(script: Script = sum_of) -> FakeCausalLM:
    return FakeCausalLM(script, num_slots=NUM_SLOTS, context_length=1024)


def compared(rewritten: FakeCausalLM, *, windows: Sequence[int] = (_WINDOW,), tolerance: Tolerance = _FP32) -> float:
    return largest_difference(rewritten, expected_of(model(), prompt_lengths(1024, windows)), tolerance)


class NoisyCausalLM(FakeCausalLM):
    """Adds a part of the range to the logit of one token that is not the most likely one."""

    def __init__(self, noise: float) -> None:
        super().__init__(sum_of, num_slots=NUM_SLOTS, context_length=1024)
        self._noise = noise

    def _logits(self, slot: int) -> Logits:
        logits = super()._logits(slot)
        logits[int(np.argmin(logits))] += 10 * self._noise
        return logits


class ChunksMatterCausalLM(FakeCausalLM):
    """Is wrong after a second chunk that begins early in the prompt."""

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        start = len(self.slots[slot])
        logits = super().prefill(slot, token_ids, total_length=total_length)
        return np.roll(logits, 1) if 0 < start < 100 else logits


class LongNeighborMattersCausalLM(FakeCausalLM):
    """Is wrong for a short row beside one that is longer than the window."""

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        logits = super().decode(slots, token_ids)
        if max(len(self.slots[slot]) for slot in slots) > _WINDOW:
            for row, slot in enumerate(slots):
                if len(self.slots[slot]) < _WINDOW:
                    logits[row] = np.roll(logits[row], 1)
        return logits


def test_an_equal_model_has_no_difference_and_leaves_all_slots_empty() -> None:
    rewritten = model()
    assert compared(rewritten) == 0
    assert rewritten.slots == [[]] * NUM_SLOTS
    kinds = {kind for kind, _ in rewritten.runs}
    assert kinds == {"prefill", "decode"}
    assert max(size for kind, size in rewritten.runs if kind == "decode") == NUM_SLOTS


def test_a_small_difference_is_measured_in_parts_of_the_range() -> None:
    assert compared(NoisyCausalLM(5e-4)) == pytest.approx(5e-4, rel=0.01)


def test_a_difference_above_the_tolerance_is_reported_with_its_size() -> None:
    with pytest.raises(NotServed, match=r"^a logit after a prompt of 1 tokens alone differs by 0\.002 of the range of"):
        compared(NoisyCausalLM(2e-3))
    assert compared(NoisyCausalLM(2e-3), tolerance=Tolerance(difference=1e-2, tie=1e-2)) == pytest.approx(
        2e-3, rel=0.01
    )


def test_another_next_token_is_reported_even_if_all_logits_are_close() -> None:
    wide = Tolerance(difference=2, tie=1e-5)
    with pytest.raises(NotServed, match=r"^the next token after a prompt of 1 tokens alone is \d+ instead of \d+$"):
        compared(model(lambda token_ids: sum_of(token_ids) ^ 1), tolerance=wide)


def test_a_tie_may_be_decided_differently() -> None:
    assert compared(model(lambda token_ids: sum_of(token_ids) ^ 1), tolerance=Tolerance(difference=2, tie=2)) == 1


def test_an_error_beyond_a_window_alone_is_found() -> None:
    def attends_to_too_little(token_ids: list[int]) -> int:
        return sum_of(token_ids) if len(token_ids) <= _WINDOW else 0

    with pytest.raises(NotServed, match=r"a prompt of (398|441) tokens"):
        compared(model(attends_to_too_little))


def test_an_error_of_the_first_token_that_leaves_a_window_is_found() -> None:
    with pytest.raises(NotServed, match=rf"a prompt of {_WINDOW - 2} tokens"):
        compared(model(lambda token_ids: 0 if len(token_ids) == _WINDOW + 1 else sum_of(token_ids)))


def test_an_error_beside_a_long_neighbor_alone_is_found() -> None:
    rewritten = LongNeighborMattersCausalLM(sum_of, num_slots=NUM_SLOTS, context_length=1024)
    with pytest.raises(NotServed, match="beside others"):
        compared(rewritten)


def test_an_error_in_chunks_alone_is_found() -> None:
    rewritten = ChunksMatterCausalLM(sum_of, num_slots=NUM_SLOTS, context_length=1024)
    with pytest.raises(NotServed, match="in chunks"):
        compared(rewritten)


def test_an_original_whose_output_depends_on_chunks_is_compared_run_by_run() -> None:
    original = ChunksMatterCausalLM(sum_of, num_slots=NUM_SLOTS, context_length=1024)
    expected = expected_of(original, prompt_lengths(1024, [_WINDOW]))
    wanted = counterparts(original, expected)
    assert largest_difference(original, expected, _FP32, wanted) == 0
    with pytest.raises(NotServed, match="in chunks"):
        largest_difference(model(), expected, _FP32, wanted)


def test_an_original_that_takes_a_prompt_in_one_run_is_not_given_chunks() -> None:
    original = FakeCausalLM(context_length=600, fixed_chunk=600)
    expected_of(original, [500])
    assert original.runs[0] == ("prefill", 500)


def test_logits_that_are_not_finite_are_reported() -> None:
    with pytest.raises(NotServed, match="not finite"):
        compared(model(lambda token_ids: -1 if len(token_ids) > 100 else sum_of(token_ids)))


@pytest.mark.parametrize("context_length", [8, 40, 300, 4096])
def test_prompts_leave_room_for_the_decoded_tokens(context_length: int) -> None:
    lengths = prompt_lengths(context_length, [4096, 128, 1])
    assert lengths == sorted(set(lengths))
    assert lengths[0] == 1
    assert lengths[-1] <= context_length - 4
