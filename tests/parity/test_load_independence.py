"""Tokens do not depend on the load: a request alone, crowded, chunked and late gives the same bits."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest, RawLogprobs, TokenSampled
from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import SessionOptions
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.folder import ModelFolder
from onward_server.sampling import SamplingParams
from testing.tiny_model import write_tiny_model

NUM_SLOTS = 8
ALL = 10_000

Tokens = list[tuple[int, RawLogprobs | None]]


@pytest.fixture(scope="module", params=[None, 4], ids=["fp32", "int4"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder, bits=request.param)
    return load(folder)


def load(folder: Path) -> LoadedModel:
    return load_model(
        ModelFolder.read(folder), SessionOptions(), num_slots=NUM_SLOTS, max_context_length=None, prefill_chunk=512
    )


def request(name: str, length: int, *, temperature: float = 1.0, num_choices: int = 1) -> GenerationRequest:
    """A seeded request whose prompt depends on its name alone."""
    generator = random.Random(name)
    return GenerationRequest(
        id=name,
        prompt_ids=[generator.randrange(3, 500) for _ in range(length)],
        sampling=SamplingParams(
            temperature=temperature, top_p=0.95, max_tokens=24, seed=7, frequency_penalty=0.2, repetition_penalty=1.1
        ),
        seeds=tuple(range(7, 7 + num_choices)),
        top_logprobs=4,
    )


def neighbors(name: str = "neighbor") -> list[GenerationRequest]:
    return [request(f"{name} {number}", 3 + 17 * number) for number in range(NUM_SLOTS - 1)]


def steps(engine: Engine, budget: int) -> Iterator[dict[tuple[str, int], tuple[int, RawLogprobs | None]]]:
    while engine.has_work:
        sampled = [event for event in engine.step(budget).events if isinstance(event, TokenSampled)]
        yield {(event.request_id, event.index): (event.token_id, event.logprobs) for event in sampled}


def tokens_of(
    model: LoadedModel,
    wanted: GenerationRequest,
    *,
    before: Sequence[GenerationRequest] = (),
    after: Sequence[GenerationRequest] = (),
    budget: int = ALL,
    late_by: int = 0,
) -> Tokens:
    """Tokens of the wanted request's first choice, run with others that arrive before and after it."""
    engine = Engine(model.causal_lm)
    for other in before:
        engine.add(other)
    running = steps(engine, budget)
    for _ in range(late_by):
        next(running)
    for other in (wanted, *after):
        engine.add(other)
    tokens = [step[wanted.id, 0] for step in running if (wanted.id, 0) in step]
    engine.check_integrity()
    assert engine.num_free_slots == NUM_SLOTS
    return tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
@pytest.mark.parametrize("length", [1, 3, 67])
def test_a_request_gives_the_same_bits_beside_any_others(model: LoadedModel, length: int, temperature: float) -> None:
    wanted = request("wanted", length, temperature=temperature)
    alone = tokens_of(model, wanted)
    assert len(alone) == 24
    assert len({token_id for token_id, _ in alone}) > 10
    assert tokens_of(model, wanted, after=neighbors()) == alone
    assert tokens_of(model, wanted, before=neighbors()) == alone
    assert tokens_of(model, wanted, before=neighbors(), late_by=5) == alone
    for budget in (5, 16):
        assert tokens_of(model, wanted, before=neighbors(), after=neighbors("later"), budget=budget) == alone


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
    alone = tokens_of(model, request("wanted", 20))
    assert tokens_of(model, request("wanted", 20, num_choices=3), before=neighbors()) == alone


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
    alone = tokens_of(model, request("wanted", 20))
    monkeypatch.setattr(model.causal_lm, "min_decode_rows", 2)
    assert tokens_of(model, request("wanted", 20)) == alone


def test_growing_caches_give_the_tokens_of_shared_slots(tmp_path: Path) -> None:
    by_layout: list[list[int]] = []
    for layout in ("slots", "growing"):
        write_tiny_model(tmp_path / layout, layout=layout)
        wanted = request("wanted", 40, temperature=0.0)
        alone = tokens_of(load(tmp_path / layout), wanted)
        by_layout.append([token_id for token_id, _ in alone])
        assert tokens_of(load(tmp_path / layout), wanted, before=neighbors()) == alone
    assert by_layout[0] == by_layout[1]
