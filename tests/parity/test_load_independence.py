"""Tokens do not depend on the load: a request alone, crowded, chunked and late gives the same bits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.loader import LoadedModel
from onward_server.model.slot_causal_lm import SlotCausalLM
from testing.tiny_model import write_tiny_model
from tests.crowds import load, neighbors, request, tokens_of


@pytest.fixture(scope="module", params=[None, 4], ids=["fp32", "int4"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder, bits=request.param)
    return load(folder)


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
@pytest.mark.parametrize("length", [1, 3, 67])
def test_a_request_gives_the_same_bits_beside_any_others(model: LoadedModel, length: int, temperature: float) -> None:
    wanted = request("wanted", length, temperature=temperature)
    alone = tokens_of(model.causal_lm, wanted)
    assert len(alone) == 24
    assert len({token_id for token_id, _ in alone}) > 10
    assert tokens_of(model.causal_lm, wanted, after=neighbors()) == alone
    assert tokens_of(model.causal_lm, wanted, before=neighbors()) == alone
    assert tokens_of(model.causal_lm, wanted, before=neighbors(), late_by=5) == alone
    for budget in (5, 16):
        assert tokens_of(model.causal_lm, wanted, before=neighbors(), after=neighbors("later"), budget=budget) == alone


@pytest.mark.parametrize("lengths", [range(4, 70), [225, *range(250, 257)]], ids=["short", "to the end of the context"])
def test_a_prompt_gives_the_same_bits_in_any_chunks(model: LoadedModel, lengths: Sequence[int]) -> None:
    """Attention works in tiles of rows, here 32, and runs another kernel for a row that is alone in its tile."""
    causal_lm = model.causal_lm
    for length in lengths:
        token_ids = np.arange(length, dtype=np.int64) * 7 % 500
        whole = prefilled(causal_lm, token_ids, [])
        for end in {2, min(33, length - 2), length // 2, length - 2}:
            assert np.array_equal(prefilled(causal_lm, token_ids, [end]), whole), f"{length} tokens, split at {end}"


def prefilled(causal_lm: CausalLM, token_ids: TokenIds, ends: Sequence[int]) -> Logits:
    """Logits after the prompt, and after one more token."""
    last = [causal_lm.prefill(0, chunk).copy() for chunk in np.split(token_ids, ends)][-1]
    after = causal_lm.decode([0], [9])[0] if len(token_ids) < causal_lm.context_length else last
    both = np.concatenate([last, after])
    causal_lm.release(0)
    return both


def test_the_first_of_several_choices_equals_the_only_choice(model: LoadedModel) -> None:
    alone = tokens_of(model.causal_lm, request("wanted", 20))
    assert tokens_of(model.causal_lm, request("wanted", 20, num_choices=3), before=neighbors()) == alone


def test_loading_measures_that_the_model_is_load_independent(model: LoadedModel) -> None:
    assert model.deterministic


def test_a_lone_row_that_differs_is_padded_to_two(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates a processor whose int4 kernel gives different bits for one row than for two."""
    causal_lm = model.causal_lm
    assert isinstance(causal_lm, SlotCausalLM)
    monkeypatch.setattr(causal_lm, "min_decode_rows", 1)
    decode = causal_lm.decode

    def decode_with_a_lone_row_kernel(slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        logits = decode(slots, token_ids)
        return logits + 1e-6 if len(slots) == 1 == causal_lm.min_decode_rows else logits

    monkeypatch.setattr(causal_lm, "decode", decode_with_a_lone_row_kernel)
    assert measure_load_independence(causal_lm)
    assert causal_lm.min_decode_rows == 2


def test_padding_a_lone_row_changes_no_bits(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tokens_of(model.causal_lm, request("wanted", 20))
    monkeypatch.setattr(model.causal_lm, "min_decode_rows", 2)
    assert tokens_of(model.causal_lm, request("wanted", 20)) == alone


def test_growing_caches_give_the_tokens_of_shared_slots(tmp_path: Path) -> None:
    by_layout: list[list[int]] = []
    for layout in ("slots", "growing"):
        write_tiny_model(tmp_path / layout, layout=layout)
        wanted = request("wanted", 40, temperature=0.0)
        alone = tokens_of(load(tmp_path / layout).causal_lm, wanted)
        by_layout.append([token_id for token_id, _ in alone])
        assert tokens_of(load(tmp_path / layout).causal_lm, wanted, before=neighbors()) == alone
    assert by_layout[0] == by_layout[1]
