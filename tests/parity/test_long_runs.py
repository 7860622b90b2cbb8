"""Graphs that behave differently in long runs, or keep a window of the tokens, never give a wrong token."""

import logging
from pathlib import Path

import numpy as np
import pytest

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.load_independence import LongRuns, measure_load_independence, measure_long_runs
from onward_server.model.slot_causal_lm import SlotCausalLM
from testing.other_exporters.decoder_graph import Layout
from tests.crowds import neighbors, request, tokens_of
from tests.decoder_variants import Edit, layers_with_gaps, long_rope, windows
from tests.variant_loading import NUM_TOKENS, expected, load_variant

THRESHOLD = 100
LONG_ROPE = long_rope(THRESHOLD)
WINDOWS: dict[int, Edit] = {size: windows(size, keeps_window_only=False) for size in (3, 16, 100, 300)}


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_the_context_ends_where_a_graph_computes_positions_in_another_way(
    tmp_path: Path, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    """No file says so: the end is measured."""
    with caplog.at_level(logging.WARNING):
        loaded = load_variant(tmp_path, layout, LONG_ROPE)
    assert loaded.deterministic
    assert loaded.causal_lm.context_length == THRESHOLD
    assert "the context ends at 100 tokens instead of 256: the graph computes positions differently" in caplog.text
    for length in (40, THRESHOLD - NUM_TOKENS + 1):  # the last token is not run
        wanted = request("prompt", length, temperature=0.0, penalties=False)
        alone = tokens_of(loaded.causal_lm, wanted)
        assert [token_id for token_id, _ in alone] == expected(layout, length, LONG_ROPE)
        others = [other for other in neighbors() if len(other.prompt_ids) < THRESHOLD - NUM_TOKENS]
        assert tokens_of(loaded.causal_lm, wanted, before=others, budget=24) == alone


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_longer_sequences_would_have_given_other_tokens(layout: Layout) -> None:
    assert expected(layout, THRESHOLD - 10, LONG_ROPE) != expected(layout, THRESHOLD - 10)


def test_runs_that_are_not_exact_beside_a_long_row_are_isolated(tmp_path: Path) -> None:
    causal_lm = load_variant(tmp_path, "slots", LONG_ROPE).causal_lm
    assert isinstance(causal_lm, SlotCausalLM)
    assert measure_long_runs(causal_lm) == LongRuns(context_length=THRESHOLD, are_exact=True)
    assert measure_load_independence(causal_lm, are_long_runs_exact=False)
    assert causal_lm.fixed_chunk == 64


@pytest.mark.parametrize(("difference", "is_on_cpu"), [(1e-5, True), (0.05, False)])
def test_a_difference_within_rounding_does_not_end_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float, *, is_on_cpu: bool
) -> None:
    """A GPU has other kernels for long runs, and rounds more."""
    causal_lm = load_variant(tmp_path, "slots", windows(16, keeps_window_only=False)).causal_lm
    assert isinstance(causal_lm, SlotCausalLM)
    probe_length = causal_lm.probe_length

    def rounded_in_long_runs(token_ids: TokenIds) -> Logits:
        return probe_length(token_ids) + np.float32(difference * (causal_lm.context_length > 200))

    monkeypatch.setattr(causal_lm, "probe_length", rounded_in_long_runs)
    monkeypatch.setattr(causal_lm, "is_on_cpu", is_on_cpu)
    assert measure_long_runs(causal_lm) == LongRuns(context_length=256, are_exact=False)


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_the_context_ends_at_the_original_length_of_the_configuration(
    tmp_path: Path, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    """An export may have one set of frequencies, so that nothing can be measured."""
    scaling = {"type": "longrope", "original_max_position_embeddings": 128}
    with caplog.at_level(logging.WARNING):
        loaded = load_variant(tmp_path, layout, layers_with_gaps, rope_scaling=scaling)
    assert loaded.causal_lm.context_length == 128
    assert "the context ends at 128 tokens instead of 256: config.json has rope_scaling of type longrope" in caplog.text


@pytest.mark.parametrize("num_slots", [1, 2])
def test_a_graph_with_few_slots_has_the_same_context(tmp_path: Path, num_slots: int) -> None:
    assert load_variant(tmp_path, "slots", LONG_ROPE, num_slots=num_slots).causal_lm.context_length == THRESHOLD


@pytest.mark.parametrize("size", [3, 16, 100, 300])
def test_caches_that_keep_a_window_give_the_tokens_of_caches_that_keep_all(tmp_path: Path, size: int) -> None:
    loaded = load_variant(tmp_path, "slots", windows(size, keeps_window_only=True))
    assert loaded.deterministic
    assert isinstance(loaded.causal_lm, SlotCausalLM)
    for length in (2, 40, 232):
        wanted = request("prompt", length, temperature=0.0, penalties=False)
        alone = tokens_of(loaded.causal_lm, wanted)
        assert [token_id for token_id, _ in alone] == expected("slots", length, WINDOWS[size]), f"{length} tokens"
        assert tokens_of(loaded.causal_lm, wanted, before=neighbors()[:3], budget=24) == alone
