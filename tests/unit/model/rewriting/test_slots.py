"""Rewriting a decomposed decoder into slots: the same tokens and logits, and several sequences in a run."""

from pathlib import Path

import numpy as np
import pytest

from onward_server.model.decoder_io import DecoderIO
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.onnx_session import ExecutionProvider, OnnxSession, SessionOptions
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.slots import SlotRewriting, to_slots
from onward_server.model.slot_causal_lm import SlotCausalLM
from testing.tiny_model import TINY, write_tiny_model
from tests.naive_decoder import NaiveDecoder

CPU = SessionOptions(execution_provider=ExecutionProvider.CPU, num_threads=1)
PROMPT_LENGTHS = (1, 7, 40, 90)
NUM_STEPS = 12


def rewritten(folder: Path) -> tuple[SlotCausalLM, SlotRewriting]:
    graph = Graph.parse((folder / "model.onnx").read_bytes(), folder)
    rewriting = to_slots(graph, context_length=TINY.max_positions)
    path = folder / "slots.onnx"
    path.write_bytes(graph.serialize())
    session = OnnxSession(path, CPU)
    return SlotCausalLM(session, DecoderIO.of(session, {}), num_slots=4, context_length=128), rewriting


def test_a_rewritten_decoder_gives_the_logits_of_the_original_ragged_and_chunked(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, layout="growing")
    model, rewriting = rewritten(folder)
    assert len(rewriting.layers) == TINY.num_layers
    reference = NaiveDecoder(folder / "model.onnx")
    generator = np.random.default_rng(0)
    prompts = [generator.integers(3, TINY.vocab_size, length) for length in PROMPT_LENGTHS]
    sequences = [[*map(int, prompt), *reference.greedy(list(map(int, prompt)), NUM_STEPS)] for prompt in prompts]
    expected = [reference.forward(np.array([sequence]))[0][0] for sequence in sequences]
    for slot, prompt in enumerate(prompts):
        for start in range(0, len(prompt), 10):
            logits = model.prefill(slot, prompt[start : start + 10])
        np.testing.assert_allclose(logits, expected[slot][len(prompt) - 1], atol=1e-4)  # pyright: ignore[reportPossiblyUnboundVariable]
    for step in range(NUM_STEPS - 1):
        places = [length + step for length in PROMPT_LENGTHS]
        logits = model.decode(range(4), [sequences[slot][place] for slot, place in enumerate(places)])
        for slot, place in enumerate(places):
            np.testing.assert_allclose(logits[slot], expected[slot][place], atol=1e-4)
            assert int(logits[slot].argmax()) == sequences[slot][place + 1]


def test_a_rewritten_decoder_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    model, _ = rewritten(write_tiny_model(tmp_path, layout="growing"))
    assert measure_load_independence(model)


def test_a_graph_of_slots_is_not_rewritten_again(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, layout="slots")
    graph = Graph.parse((folder / "model.onnx").read_bytes(), folder)
    with pytest.raises(NotRewritable, match="not the first of two parts"):
        to_slots(graph, context_length=TINY.max_positions)
