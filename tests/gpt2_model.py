"""Exports a decoder of GPT-2's architecture: learned positions, LayerNorm, biases and GELU; over three symbols."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from testing.other_exporters.attention import SlotAttention
from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.graph import Graph
from testing.other_exporters.model_folder import write_json, write_model

Weights = Mapping[str, NDArray[np.float32]]

SYMBOLS = "ABC"

SHAPE = DecoderConfig(
    vocab_size=len(SYMBOLS),
    hidden_size=48,
    intermediate_size=192,
    num_layers=3,
    num_heads=3,
    num_kv_heads=3,
    head_dim=16,
    max_positions=11,
    rope_theta=None,
)
"""Eleven positions hold six symbols of a prompt and six of its completion, since the last one is never fed back."""

NORM_EPS = 1e-5


def random_gpt2_weights(*, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights by the names that minGPT gives them; matrices are [out, in]. The same seed gives the same weights."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int, scale: float) -> NDArray[np.float32]:
        return np.float32(scale) * generator.standard_normal(shape, dtype=np.float32)

    hidden, wide = SHAPE.hidden_size, SHAPE.intermediate_size
    weights = {
        "transformer.wte.weight": normal(SHAPE.vocab_size, hidden, scale=1),
        "transformer.wpe.weight": normal(SHAPE.max_positions, hidden, scale=1),
        "lm_head.weight": normal(SHAPE.vocab_size, hidden, scale=1),
    }
    norms = ["transformer.ln_f"]
    for block in (f"transformer.h.{layer}" for layer in range(SHAPE.num_layers)):
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        linears = {
            f"{block}.attn.c_attn": (3 * hidden, hidden),
            f"{block}.attn.c_proj": (hidden, hidden),
            f"{block}.mlp.c_fc": (wide, hidden),
            f"{block}.mlp.c_proj": (hidden, wide),
        }
        for name, (rows, columns) in linears.items():
            weights[f"{name}.weight"] = normal(rows, columns, scale=2 * columns**-0.5)
            weights[f"{name}.bias"] = normal(rows, scale=0.1)
    for name in norms:
        weights[f"{name}.weight"] = np.float32(1) + normal(hidden, scale=0.1)
        weights[f"{name}.bias"] = normal(hidden, scale=0.1)
    return weights


def write_gpt2_model(directory: Path, weights: Weights) -> Path:
    """Writes a folder that the server loads in the slots layout, and returns it."""
    write_model(_Exporter(weights).run().model("gpt2"), directory)
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
    """Turns weights into a graph."""

    def __init__(self, weights: Weights) -> None:
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
        graph.node("MatMul", [normed, self._constant("lm_head.weight", transposed=True)], "logits")
        return graph

    def _attend(self, attention: SlotAttention, layer: int, block: str, hidden: str) -> str:
        joined = self._linear(f"{block}.attn.c_attn", self._norm(f"{block}.ln_1", hidden))
        sides = [f"{block}.attn.{side}" for side in ("query", "key", "value")]
        self._graph.nodes("Split", [joined], sides, axis=-1, num_outputs=3)
        mixed = self._linear(f"{block}.attn.c_proj", attention.attend(layer, *sides))
        return self._graph.node("Add", [hidden, mixed], f"{block}.attn.sum")

    def _mlp(self, block: str, hidden: str) -> str:
        wide = self._linear(f"{block}.mlp.c_fc", self._norm(f"{block}.ln_2", hidden))
        activated = self._graph.node("Gelu", [wide], f"{block}.mlp.gelu", approximate="tanh")
        return self._graph.node("Add", [hidden, self._linear(f"{block}.mlp.c_proj", activated)], f"{block}.mlp.sum")

    def _linear(self, name: str, rows: str) -> str:
        weight = self._constant(f"{name}.weight", transposed=True)
        product = self._graph.node("MatMul", [rows, weight], f"{name}.product")
        return self._graph.node("Add", [product, self._constant(f"{name}.bias")], f"{name}.output")

    def _norm(self, name: str, rows: str) -> str:
        inputs = [rows, self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]
        return self._graph.node("LayerNormalization", inputs, f"{name}.output", axis=-1, epsilon=NORM_EPS)

    def _constant(self, name: str, *, transposed: bool = False) -> str:
        value = self._weights[name]
        return self._graph.constant(name, value.T if transposed else value)
