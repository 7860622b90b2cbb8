"""Exports a trained GPT-2 style model that sorts six symbols; it is data of others and lies outside this repository.

Three symbols, A to C, and eleven learned positions: six are fed and six answered, the last of which is never fed back.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from models.export.attention import SlotAttention
from models.export.decoder_config import DecoderConfig
from models.export.graph import Graph
from models.export.model_folder import write_json, write_model

DATA = Path(__file__).parents[2] / "shared" / "data" / "nano-gpt-sort"
CHECKPOINT = DATA / "gpt-nano-sort-model.json"
REFERENCE = DATA / "gpt-nano-sort-t0-partials.json"
"""Activations of the original, for three inputs of eleven symbols."""

SYMBOLS = "ABC"

SHAPE = DecoderConfig(
    vocab_size=3,
    hidden_size=48,
    intermediate_size=192,
    num_layers=3,
    num_heads=3,
    num_kv_heads=3,
    head_dim=16,
    max_positions=11,
    rope_theta=None,
)

_NORM_EPS = 1e-5


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads the tensors of CHECKPOINT or REFERENCE by name."""
    document = cast("Mapping[str, Mapping[str, object]]", json.loads(path.read_text(encoding="utf-8")))
    return {
        name: np.frombuffer(base64.b64decode(cast("str", entry["data"])), "<f4").reshape(
            cast("list[int]", entry["shape"])
        )
        for name, entry in document.items()
        if "data" in entry
    }


def write_nano_gpt(directory: Path) -> Path:
    """Writes a folder that the server loads in the slots layout, and returns it."""
    write_model(_Exporter(read_tensors(CHECKPOINT)).run().model("nano-gpt"), directory)
    shape = {
        "model_type": "gpt2",
        "vocab_size": SHAPE.vocab_size,
        "n_positions": SHAPE.max_positions,
        "n_embd": SHAPE.hidden_size,
        "n_layer": SHAPE.num_layers,
        "n_head": SHAPE.num_heads,
    }
    write_json(directory / "config.json", shape)
    tokenizer = Tokenizer(BPE({symbol: token_id for token_id, symbol in enumerate(SYMBOLS)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


class _Exporter:
    """Turns minGPT's weights, matrices [out, in], into a graph."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._graph = Graph()

    def run(self) -> Graph:
        graph = self._graph
        graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
        graph.input("position_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
        graph.output("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", SHAPE.vocab_size])
        attention = SlotAttention(graph, SHAPE)
        words = graph.node("Gather", [self._constant("transformer.wte.weight"), "input_ids"], "words")
        places = graph.node("Gather", [self._constant("transformer.wpe.weight"), "position_ids"], "places")
        hidden = graph.node("Add", [words, places], "embeddings")
        for layer in range(SHAPE.num_layers):
            block = f"transformer.h.{layer}"
            hidden = self._attend(attention, layer, block, hidden)
            hidden = self._mlp(block, hidden)
        normed = self._norm("transformer.ln_f", hidden)
        graph.node("MatMul", [normed, self._constant("lm_head.weight", turned=True)], "logits")
        return graph

    def _attend(self, attention: SlotAttention, layer: int, block: str, hidden: str) -> str:
        joined = self._linear(f"{block}.attn.c_attn", self._norm(f"{block}.ln_1", hidden))
        sides = [f"{block}.attn.{side}" for side in ("query", "key", "value")]
        self._graph.nodes("Split", [joined], sides, axis=-1, num_outputs=3)
        mixed = self._linear(f"{block}.attn.c_proj", attention.attend(layer, *sides))
        return self._graph.node("Add", [hidden, mixed], f"{block}.attn.sum")

    def _mlp(self, block: str, hidden: str) -> str:
        wide = self._linear(f"{block}.mlp.c_fc", self._norm(f"{block}.ln_2", hidden))
        bent = self._graph.node("Gelu", [wide], f"{block}.mlp.gelu", approximate="tanh")
        return self._graph.node("Add", [hidden, self._linear(f"{block}.mlp.c_proj", bent)], f"{block}.mlp.sum")

    def _linear(self, name: str, rows: str) -> str:
        product = self._graph.node("MatMul", [rows, self._constant(f"{name}.weight", turned=True)], f"{name}.product")
        return self._graph.node("Add", [product, self._constant(f"{name}.bias")], f"{name}.output")

    def _norm(self, name: str, rows: str) -> str:
        inputs = [rows, self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]
        return self._graph.node("LayerNormalization", inputs, f"{name}.output", axis=-1, epsilon=_NORM_EPS)

    def _constant(self, name: str, *, turned: bool = False) -> str:
        value = self._weights[name]
        return self._graph.constant(name, value.T if turned else value)
