"""Dynamically quantized graphs give the same bits alone and in crowds, though all tokens of a run share a scale."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onward_server.model import fitting, loader
from onward_server.model.causal_lm import CausalLM
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.loader import LoadedModel
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.onnx_file import OnnxFile
from testing.dynamic_int8 import quantize_dynamically
from testing.other_exporters.decoder_graph import Layout
from testing.tiny_model import write_tiny_model
from tests.crowds import load, neighbors, request, tokens_of
from tests.naive_decoder import NaiveDecoder

CHUNK = 16


@pytest.fixture(scope="module", params=["slots", "growing"])
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.fixture(scope="module")
def folder(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"), layout=layout)
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").write_bytes(quantize_dynamically(model).SerializeToString())
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "MAX_ISOLATION_CHUNK", CHUNK)
        return load(folder)


def test_the_loaded_model_is_measured_as_load_independent(loaded: LoadedModel) -> None:
    assert (loaded.deterministic, loaded.precision, loaded.causal_lm.fixed_chunk) == (True, "int8", CHUNK)


@pytest.mark.parametrize("length", [1, 17, 67])
def test_a_request_gives_the_same_bits_beside_any_others(loaded: LoadedModel, length: int) -> None:
    wanted = request("wanted", length)
    model = loaded.causal_lm
    alone = tokens_of(model, wanted)
    assert len(alone) == 24
    assert len({token_id for token_id, _ in alone}) > 10
    assert tokens_of(model, wanted, after=neighbors()) == alone
    assert tokens_of(model, wanted, before=neighbors()[:3], after=neighbors("later"), budget=5, late_by=5) == alone
    assert tokens_of(model, request("wanted", length, num_choices=3), before=neighbors(), budget=48) == alone


def test_a_prompt_of_one_run_gives_the_tokens_of_a_simple_loop(loaded: LoadedModel, folder: Path) -> None:
    decoder = NaiveDecoder(folder / "model.onnx")
    for length in (1, 2, 5, CHUNK):
        prompt = list(request("prompt", length).prompt_ids)
        assert greedy(loaded.causal_lm, prompt, 24) == decoder.greedy(prompt, 24)


def greedy(model: CausalLM, prompt: list[int], num_tokens: int) -> list[int]:
    token_ids = [int(model.prefill(0, np.array(prompt, np.int64)).argmax())]
    while len(token_ids) < num_tokens:
        token_ids.append(int(model.decode([0], token_ids[-1:])[0].argmax()))
    model.release(0)
    return token_ids


def test_the_same_graph_is_measured_as_dependent_and_isolated_though_no_operator_tells(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe must find what isolation prevents."""

    def tell_nothing(_: OnnxFile) -> bool:
        return False

    monkeypatch.setattr(loader, "quantizes_dynamically", tell_nothing)
    causal_lm = load(folder).causal_lm
    assert isinstance(causal_lm, SlotCausalLM | GrowingCausalLM)
    assert (measure_load_independence(causal_lm), causal_lm.fixed_chunk) == (True, 256)
    monkeypatch.setattr(causal_lm, "fixed_chunk", None)
    monkeypatch.setattr(causal_lm, "isolate_runs", lambda: False)
    if isinstance(causal_lm, SlotCausalLM):
        monkeypatch.setattr(causal_lm, "has_single_rows", False)
    assert not measure_load_independence(causal_lm)
