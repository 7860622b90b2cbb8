"""Builds the ONNX graph of a Llama or Qwen3 style decoder.

Inputs and outputs have the names that onnxruntime-genai expects: `input_ids`, `attention_mask` and
`past_key_values.N.key|value` in, `logits` and `present.N.key|value` out. The growing layout, like that of Optimum, also
takes `position_ids`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from testing.other_exporters.attention import Attention, GrowingAttention, SlotAttention
from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.graph import MICROSOFT, Graph
from testing.other_exporters.weights import WeightFormats, Weights

Layout: TypeAlias = Literal["slots", "growing"]
"""slots: fused attention over shared buffers. growing: standard operators, caches extended by concatenation."""

ATTENTIONS: dict[Layout, type[SlotAttention | GrowingAttention]] = {"slots": SlotAttention, "growing": GrowingAttention}


def build_decoder(
    config: DecoderConfig,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    layout: Layout = "slots",
    formats: WeightFormats | None = None,
) -> ModelProto:
    """Builds the model. The weights have the names and shapes of `config.weight_shapes()`.

    Raises:
        ValueError: a weight is missing, unknown or of the wrong shape, or does not fit its format's blocks.
    """
    _check_weights(config, weights)
    formats = formats or WeightFormats()
    graph = Graph()
    graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
    graph.output("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", config.vocab_size])
    embeddings = Weights(graph, formats.embeddings)
    table_name = "model.embed_tokens.weight"
    table = weights[table_name]
    hidden = embeddings.lookup("input_ids", table_name, table, "embeddings")
    body = _DecoderBody(config, weights, graph, Weights(graph, formats.layers), ATTENTIONS[layout](graph, config))
    hidden = body.run(hidden)
    if config.tied_embeddings:
        embeddings.tied_product(hidden, table_name, table, "logits")
    else:
        embeddings.product(hidden, "lm_head.weight", weights["lm_head.weight"], "logits")
    return graph.model("decoder")


def _check_weights(config: DecoderConfig, weights: Mapping[str, NDArray[np.float32]]) -> None:
    expected = config.weight_shapes()
    found = {name: weight.shape for name, weight in weights.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        lines = [f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong]
        raise ValueError("the weights do not fit the shape:\n  " + "\n  ".join(lines))


class _DecoderBody:
    """The layers between the embedding and the output layer."""

    def __init__(
        self,
        config: DecoderConfig,
        weights: Mapping[str, NDArray[np.float32]],
        graph: Graph,
        matrices: Weights,
        attention: Attention,
    ) -> None:
        self._config = config
        self._weights = weights
        self._graph = graph
        self._matrices = matrices
        self._attention = attention

    def run(self, hidden: str) -> str:
        """All layers and the final norm, [B, S, H]."""
        residual, change = hidden, ""
        for layer in range(self._config.num_layers):
            prefix = f"model.layers.{layer}"
            normed, residual = self._add_and_norm(residual, change, f"{prefix}.input_layernorm")
            change = self._attend(layer, f"{prefix}.self_attn", normed)
            normed, residual = self._add_and_norm(residual, change, f"{prefix}.post_attention_layernorm")
            change = self._mlp(f"{prefix}.mlp", normed)
        normed, _ = self._add_and_norm(residual, change, "model.norm")
        return normed

    def _add_and_norm(self, residual: str, change: str, name: str) -> tuple[str, str]:
        """Adds the change to the residual stream. Returns the normalized sum and the sum."""
        if not change:
            return self._norm(residual, f"{name}.weight", f"{name}.output"), residual
        gain = self._graph.constant(f"{name}.weight", self._weights[f"{name}.weight"])
        output, total = f"{name}.output", f"{name}.sum"
        self._graph.nodes(
            "SkipSimplifiedLayerNormalization",
            [residual, change, gain],
            [output, "", "", total],
            domain=MICROSOFT,
            epsilon=self._config.norm_eps,
        )
        return output, total

    def _norm(self, tensor: str, name: str, output: str) -> str:
        gain = self._graph.constant(name, self._weights[name])
        return self._graph.node(
            "SimplifiedLayerNormalization", [tensor, gain], output, axis=-1, epsilon=self._config.norm_eps, stash_type=1
        )

    def _attend(self, layer: int, prefix: str, hidden: str) -> str:
        joined = self._linear(f"{prefix}.qkv_proj", hidden, [f"{prefix}.{side}_proj" for side in "qkv"])
        if self._attention.takes_joined and not self._config.qk_norm:
            mixed = self._attention.attend(layer, joined, "", "")
        else:
            query, key, value = self._split(joined, prefix)
            mixed = self._attention.attend(layer, query, key, value)
        return self._linear(f"{prefix}.o_proj", mixed)

    def _split(self, joined: str, prefix: str) -> tuple[str, str, str]:
        config, sides = self._config, [f"{prefix}.{side}_proj.output" for side in "qkv"]
        widths = self._graph.integers(config.query_size, config.kv_size, config.kv_size)
        self._graph.nodes("Split", [joined, widths], sides, axis=-1)
        query, key, value = sides
        if config.qk_norm:
            query = self._norm_heads(query, f"{prefix}.q_norm", config.query_size)
            key = self._norm_heads(key, f"{prefix}.k_norm", config.kv_size)
        return query, key, value

    def _norm_heads(self, tensor: str, name: str, width: int) -> str:
        """Normalizes each head, because fused attention takes no norm weights on the CPU."""
        heads = self._graph.node(
            "Reshape", [tensor, self._graph.integers(0, -1, self._config.head_dim)], f"{name}.heads"
        )
        normed = self._norm(heads, f"{name}.weight", f"{name}.normed")
        return self._graph.node("Reshape", [normed, self._graph.integers(0, -1, width)], f"{name}.output")

    def _mlp(self, prefix: str, hidden: str) -> str:
        graph, gate, up = self._graph, f"{prefix}.gate_proj", f"{prefix}.up_proj"
        joined = self._linear(f"{prefix}.gate_up_proj", hidden, [gate, up])
        graph.nodes("Split", [joined], [f"{gate}.output", f"{up}.output"], axis=-1, num_outputs=2)
        sigmoid = graph.node("Sigmoid", [f"{gate}.output"], f"{prefix}.sigmoid")
        swish = graph.node("Mul", [f"{gate}.output", sigmoid], f"{prefix}.swish")
        gated = graph.node("Mul", [swish, f"{up}.output"], f"{prefix}.gated")
        return self._linear(f"{prefix}.down_proj", gated)

    def _linear(self, name: str, rows: str, parts: Sequence[str] = ()) -> str:
        """Multiplies by one matrix, or by several joined into one, because one large product is faster than several."""
        parts = parts or [name]
        matrix = np.concatenate([self._weights[f"{part}.weight"] for part in parts])
        biases = [self._weights[bias] for part in parts if (bias := f"{part}.bias") in self._weights]
        if not biases:
            return self._matrices.product(rows, f"{name}.weight", matrix, f"{name}.output")
        product = self._matrices.product(rows, f"{name}.weight", matrix, f"{name}.product")
        return self._graph.node(
            "Add", [product, self._graph.constant(f"{name}.bias", np.concatenate(biases))], f"{name}.output"
        )
