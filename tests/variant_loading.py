"""Loads variants of the tiny decoder, and gives the tokens that a simple loop over a variant gives."""

import json
from functools import cache
from pathlib import Path

from onnx import ModelProto

from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import SessionOptions
from onward_server.model.source.folder import ModelFolder
from testing.other_exporters.decoder_graph import Layout, build_decoder
from testing.tiny_model import TINY, tiny_weights, write_tiny_tokenizer
from tests.crowds import NUM_SLOTS, request
from tests.decoder_variants import Edit, edited
from tests.naive_decoder import NaiveDecoder

NUM_TOKENS = 24


@cache
def original(layout: Layout) -> ModelProto:
    return build_decoder(TINY, tiny_weights(TINY, seed=0), layout=layout)


@cache
def expected(layout: Layout, length: int, edit: Edit | None = None) -> list[int]:
    """Greedy tokens of a simple loop over the tiny decoder with an edit."""
    model = original(layout) if edit is None else edited(original(layout), edit)
    prompt = request("prompt", length).prompt_ids
    return NaiveDecoder(model.SerializeToString()).greedy(list(prompt), NUM_TOKENS)


def load_variant(
    folder: Path, layout: Layout, edit: Edit, *, num_slots: int = NUM_SLOTS, **config: object
) -> LoadedModel:
    """Writes the tiny decoder with an edit, beside a config.json with these additions, and loads it."""
    (folder / "model.onnx").write_bytes(edited(original(layout), edit).SerializeToString())
    sizes = {
        "max_position_embeddings": TINY.max_positions,
        "num_attention_heads": TINY.num_heads,
        "num_key_value_heads": TINY.num_kv_heads,
        "vocab_size": TINY.vocab_size,
    }
    (folder / "config.json").write_text(json.dumps({**sizes, **config}))
    write_tiny_tokenizer(folder)
    return load_model(
        ModelFolder.read(folder),
        SessionOptions(num_threads=1, spinning=False),
        num_slots=num_slots,
        max_context_length=None,
        prefill_chunk=64,
    )
