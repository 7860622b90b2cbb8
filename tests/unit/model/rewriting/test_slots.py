"""Rewriting a decomposed decoder into slots: the same logits in every form of attention, or a reason why not."""

from collections.abc import Mapping
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
from tests.decomposed_decoder import CONTEXT, VOCABULARY, Form, decomposed_decoder, merged_decoder
from tests.naive_decoder import NaiveDecoder

CPU = SessionOptions(execution_provider=ExecutionProvider.CPU, num_threads=1)
PROMPT_LENGTHS = (1, 5, 23, 60)
NUM_STEPS = 8

FORMS: Mapping[str, Form] = {
    "scaled scores": Form(),
    "scaled query": Form(scale="query"),
    "scaled query and keys": Form(scale="both"),
    "scale computed from a shape": Form(scale="shape"),
    "no scale": Form(scale="none"),
    "mask of minus infinity": Form(mask="where"),
    "mask before the scale": Form(mask="before scale"),
    "window": Form(window=7),
    "window wider than the context": Form(window=CONTEXT),
    "soft cap": Form(softcap=3.0),
    "soft cap and window": Form(softcap=3.0, window=7),
    "sinks": Form(has_sinks=True),
    "sinks and window": Form(has_sinks=True, window=7),
    "alibi": Form(has_alibi=True, positions="none"),
    "one kv head": Form(num_kv_heads=1),
    "every head a kv head": Form(num_kv_heads=4),
    "heads of size 5": Form(head_size=5),
    "capped logits": Form(head="capped"),
    "positions counted from the past": Form(positions="past"),
    "positions looked up in a cut table": Form(positions="table"),
}

REFUSED: Mapping[str, tuple[Form, str]] = {
    "a token sees the next one": (Form(mask="not causal"), "is not causal attention to"),
    "a token sees every other one": (Form(mask="every other"), "is not causal attention to"),
    "the mask depends on the tokens": (Form(mask="of tokens"), "depends on input_ids"),
    "the logits depend on the length of the past": (Form(reads_past=True), "from the past in a way"),
    "the logits are a sum of products": (Form(head="two products"), "from 2 products"),
    "past keys are changed again": (Form(turns_whole_keys=True), "computes more than an attention"),
}


def rewritten(model: bytes, folder: Path, *, context_length: int = CONTEXT) -> tuple[SlotCausalLM, SlotRewriting]:
    graph = Graph.parse(model, folder)
    rewriting = to_slots(graph, context_length=context_length)
    path = folder / "slots.onnx"
    path.write_bytes(graph.serialize())
    session = OnnxSession(path, CPU)
    return SlotCausalLM(session, DecoderIO.of(session, {}), num_slots=4, context_length=80), rewriting


def require_equal_logits(model: SlotCausalLM, reference: NaiveDecoder, vocabulary_size: int) -> None:
    """Requires the reference's logits in chunks, and in ragged decode runs of four sequences."""
    generator = np.random.default_rng(0)
    sequences = [generator.integers(0, vocabulary_size, length + NUM_STEPS) for length in PROMPT_LENGTHS]
    expected = [reference.forward(sequence[None])[0][0] for sequence in sequences]
    tolerance = 2e-5 * max(float(np.ptp(logits)) for logits in expected)
    for slot, length in enumerate(PROMPT_LENGTHS):
        starts = range(0, length, 10)
        chunks = [model.prefill(slot, sequences[slot][start : min(start + 10, length)]).copy() for start in starts]
        np.testing.assert_allclose(chunks[-1], expected[slot][length - 1], atol=tolerance)
    for step in range(NUM_STEPS):
        places = [length + step for length in PROMPT_LENGTHS]
        logits = model.decode(range(4), [int(sequences[slot][place]) for slot, place in enumerate(places)])
        for slot, place in enumerate(places):
            np.testing.assert_allclose(logits[slot], expected[slot][place], atol=tolerance)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_rewritten_decoder_gives_the_logits_of_the_original(form: Form, tmp_path: Path) -> None:
    original = decomposed_decoder(form)
    model, _ = rewritten(original, tmp_path)
    require_equal_logits(model, NaiveDecoder(original), VOCABULARY)


@pytest.mark.parametrize(("form", "reason"), REFUSED.values(), ids=REFUSED)
def test_attention_that_slots_cannot_compute_is_not_rewritten(form: Form, reason: str, tmp_path: Path) -> None:
    graph = Graph.parse(decomposed_decoder(form), tmp_path)
    with pytest.raises(NotRewritable, match=reason):
        to_slots(graph, context_length=CONTEXT)


def test_the_graph_for_single_tokens_of_a_merged_file_takes_prompts_too(tmp_path: Path) -> None:
    form = Form(window=7)
    model, rewriting = rewritten(merged_decoder(form), tmp_path)
    assert rewriting.windows == [7]
    require_equal_logits(model, NaiveDecoder(decomposed_decoder(form)), VOCABULARY)


def test_a_mask_for_single_tokens_is_refused_in_a_graph_for_prompts(tmp_path: Path) -> None:
    graph = Graph.parse(decomposed_decoder(Form(mask="one token")), tmp_path)
    with pytest.raises(NotRewritable, match="is not causal attention to all tokens so far"):
        to_slots(graph, context_length=CONTEXT)


def test_what_the_attention_of_a_layer_computes_is_read_off_the_graph(tmp_path: Path) -> None:
    form = Form(softcap=3.0, window=7, has_sinks=True, scale="both")
    rewriting = to_slots(Graph.parse(decomposed_decoder(form), tmp_path), context_length=CONTEXT)
    attention = rewriting.layers[0]
    assert (attention.heads.num, attention.heads.num_kv, attention.heads.size) == (4, 2, 8)
    assert attention.scale == pytest.approx(0.3, rel=1e-6)
    assert attention.softcap == pytest.approx(3.0, rel=1e-6)
    assert attention.window == 7
    assert str(rewriting) == ("2 layers, 4 heads, 2 KV heads of size 8, windows of 7 tokens, soft cap, attention sinks")


def test_slopes_of_alibi_are_read_off_the_graph(tmp_path: Path) -> None:
    rewriting = to_slots(Graph.parse(decomposed_decoder(Form(has_alibi=True)), tmp_path), context_length=CONTEXT)
    np.testing.assert_allclose(np.asarray(rewriting.layers[1].slopes), [0.5, 0.25, 0.125, 0.0625], rtol=1e-6)


def test_whole_models_are_rewritten_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    original = (write_tiny_model(tmp_path, layout="growing") / "model.onnx").read_bytes()
    model, rewriting = rewritten(original, tmp_path, context_length=TINY.max_positions)
    assert len(rewriting.layers) == TINY.num_layers
    require_equal_logits(model, NaiveDecoder(original), TINY.vocab_size)
    assert measure_load_independence(model)


def test_a_graph_of_slots_is_not_rewritten_again(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, layout="slots")
    graph = Graph.parse((folder / "model.onnx").read_bytes(), folder)
    with pytest.raises(NotRewritable, match="not the first of two parts"):
        to_slots(graph, context_length=TINY.max_positions)
