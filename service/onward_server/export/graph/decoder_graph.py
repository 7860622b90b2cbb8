"""Builds the graph of a decoder.

Inputs and outputs have the names that onnxruntime-genai expects: `input_ids`, `attention_mask` and
`past_key_values.N.key|value` in, `logits` and `present.N.key|value` out. Only models with learned positions take
`position_ids`. `num_logits_to_keep`, the number of last tokens that get logits, may be left out: 0, the default, means
all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from onward_server.export.decoder_config import Activation, DecoderConfig
from onward_server.export.graph.attention import Attention
from onward_server.export.graph.onnx_graph import MICROSOFT, Graph
from onward_server.export.graph.products import ONNX_FLOATS, Products
from onward_server.export.graph.stored_weights import FloatType, FloatWeight
from onward_server.export.tensors import ArrayTensor, JoinedRows, Scaled, Tensor

NUM_LOGITS = "num_logits_to_keep"

_INT64_MAX = np.iinfo(np.int64).max


def build_decoder(config: DecoderConfig, tensors: Mapping[str, Tensor], float_type: FloatType) -> Graph:
    """Builds the graph. Matrices are stored as their tensors are: floats in `float_type`, or blocks."""
    graph = Graph()
    graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
    if config.learned_positions:
        graph.input("position_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
    graph.output("logits", TensorProto.FLOAT, ["batch_size", "num_logits", config.vocab_size])
    graph.overridable_integer(NUM_LOGITS, 0)
    _Decoder(config, tensors, graph, float_type).run()
    return graph


@dataclass(frozen=True, slots=True)
class _Stream:
    """The residual stream: total + change. The norm that reads it adds them in the same node."""

    total: str
    change: str = ""


class _Decoder:
    """Adds the nodes of a decoder to a graph."""

    def __init__(
        self, config: DecoderConfig, tensors: Mapping[str, Tensor], graph: Graph, float_type: FloatType
    ) -> None:
        self._config = config
        self._tensors = tensors
        self._graph = graph
        self._float_type: FloatType = float_type
        self._stream_type: FloatType = np.float32 if config.output_norms else float_type
        """float32 for families with output norms, whose sums can exceed float16, as those of Gemma 3 do."""
        self._products = Products(graph, float_type)
        self._attention = Attention(graph, config, float_type)

    def run(self) -> None:
        """All nodes from token ids to logits."""
        stream = _Stream(self._embed())
        last = len(self._config.layers) - 1
        for layer in range(len(self._config.layers)):
            prefix = f"layers.{layer}"
            normed, stream = self._input_norm(stream, f"{prefix}.attention_norm")
            mixed = self._attend(layer, normed)
            if layer == last:  # only keys and values of the other tokens matter from here
                mixed, stream = self._last_tokens(mixed), _Stream(self._last_tokens(stream.total))
            change = self._linear(f"{prefix}.o_proj", mixed, self._residual_scale)
            stream = _Stream(stream.total, self._output_norm(change, f"{prefix}.attention_output_norm"))
            normed, stream = self._input_norm(stream, f"{prefix}.mlp_norm")
            change = self._mlp(prefix, normed)
            stream = _Stream(stream.total, self._output_norm(change, f"{prefix}.mlp_output_norm"))
        normed, _ = self._add_and_norm(stream, "final_norm", self._config.logits_scale)
        self._logits(normed)

    def _embed(self) -> str:
        graph, config = self._graph, self._config
        name = "embed_tokens.weight"
        hidden = self._to_stream(self._products.lookup("input_ids", name, self._tensors[name], "embeddings"))
        if config.embedding_scale != 1:
            scale = graph.constant("embedding_scale", np.array(config.embedding_scale, self._stream_type))
            hidden = graph.node("Mul", [hidden, scale], "embeddings.scaled")
        if config.learned_positions:
            name = "position_embeddings.weight"
            positions = self._to_stream(self._products.lookup("position_ids", name, self._tensors[name], "positions"))
            hidden = graph.node("Add", [hidden, positions], "embeddings.positioned")
        return hidden

    def _logits(self, hidden: str) -> None:
        config, graph = self._config, self._graph
        if config.tied_embeddings:
            name = "embed_tokens.weight"
            logits = self._products.multiply(hidden, name, self._tensors[name], "head")
        else:
            logits = self._linear("lm_head", hidden, bias_scale=config.logits_scale)
        logits = self._cast(logits, self._float_type, np.float32)
        if config.logits_softcap is not None:
            cap = graph.constant("logits_softcap", np.array(config.logits_softcap, np.float32))
            shrunk = graph.node("Div", [logits, cap], "head.shrunk")
            logits = graph.node("Mul", [graph.node("Tanh", [shrunk], "head.tanh"), cap], "head.capped")
        graph.node("Identity", [logits], "logits")

    @property
    def _residual_scale(self) -> float:
        """Factor of the output layers of attention and MLP; 1 if an output norm applies it instead."""
        return 1.0 if self._config.output_norms else self._config.residual_scale

    def _input_norm(self, stream: _Stream, name: str) -> tuple[str, _Stream]:
        """The input of attention or MLP, and the sum of the stream."""
        if self._config.input_norms:
            return self._add_and_norm(stream, name)
        total = stream.total
        if stream.change:
            total = self._graph.node("Add", [stream.total, stream.change], f"{name}.sum")
        return self._from_stream(total), _Stream(total)

    def _output_norm(self, change: str, name: str) -> str:
        if not self._config.output_norms:
            return change
        weights = self._norm_weights(name, self._config.residual_scale)
        return self._norm(self._to_stream(change), name, weights)

    def _add_and_norm(self, stream: _Stream, name: str, scale: float = 1) -> tuple[str, _Stream]:
        """The normalized sum of the stream, and the sum."""
        weights = self._norm_weights(name, scale)
        if not stream.change:
            return self._from_stream(self._norm(stream.total, name, weights)), stream
        output, total = f"{name}.output", f"{name}.sum"
        kind = "SkipSimplifiedLayerNormalization" if self._config.norm == "rms" else "SkipLayerNormalization"
        self._graph.nodes(
            kind,
            [stream.total, stream.change, *weights],
            [output, "", "", total],
            domain=MICROSOFT,
            epsilon=self._config.norm_eps,
        )
        return self._from_stream(output), _Stream(total)

    def _to_stream(self, tensor: str) -> str:
        return self._cast(tensor, self._float_type, self._stream_type)

    def _from_stream(self, tensor: str) -> str:
        return self._cast(tensor, self._stream_type, self._float_type)

    def _cast(self, tensor: str, before: FloatType, after: FloatType) -> str:
        if before is after:
            return tensor
        return self._graph.node("Cast", [tensor], f"{tensor}.{after.__name__}", to=ONNX_FLOATS[after.__name__])

    def _norm(self, tensor: str, name: str, weights: Sequence[str]) -> str:
        kind = "SimplifiedLayerNormalization" if len(weights) == 1 else "LayerNormalization"
        return self._graph.node(
            kind, [tensor, *weights], f"{name}.output", axis=-1, epsilon=self._config.norm_eps, stash_type=1
        )

    def _norm_weights(self, name: str, scale: float) -> list[str]:
        parts = ("weight",) if self._config.norm == "rms" else ("weight", "bias")
        names = [f"{name}.{part}" for part in parts]
        return [self._stored(name, _scaled(self._tensors[name], scale), self._stream_type) for name in names]

    def _attend(self, layer: int, hidden: str) -> str:
        config, prefix = self._config, f"layers.{layer}"
        sides = [f"{prefix}.{side}_proj" for side in "qkv"]
        widths = [config.query_size, config.kv_size, config.kv_size]
        is_joined, parts = self._linears(hidden, sides, f"{prefix}.qkv_proj")
        if is_joined:
            if self._attention.takes_joined(layer) and config.qk_norm is None:
                return self._attention.attend(layer, parts[0], "", "")
            names = [f"{side}.output" for side in sides]
            self._graph.nodes("Split", [parts[0], self._graph.integers(*widths)], names, axis=-1)
            parts = names
        query, key, value = parts
        if config.qk_norm is not None:
            query = self._qk_norm(query, f"{prefix}.q_norm", config.query_size)
            key = self._qk_norm(key, f"{prefix}.k_norm", config.kv_size)
        return self._attention.attend(layer, query, key, value)

    def _qk_norm(self, tensor: str, name: str, width: int) -> str:
        """Normalizes queries or keys in nodes of their own: on the CPU, fused attention takes no norm weights."""
        graph = self._graph
        weight = self._stored(f"{name}.weight", self._tensors[f"{name}.weight"], self._float_type)
        if self._config.qk_norm == "full":
            return self._norm(tensor, name, [weight])
        heads = graph.node("Reshape", [tensor, graph.integers(0, -1, self._config.head_dim)], f"{name}.heads")
        normed = self._norm(heads, name, [weight])
        return graph.node("Reshape", [normed, graph.integers(0, -1, width)], f"{name}.rows")

    def _mlp(self, prefix: str, hidden: str) -> str:
        graph, gate, up = self._graph, f"{prefix}.gate_proj", f"{prefix}.up_proj"
        if self._config.gated:
            is_joined, parts = self._linears(hidden, [gate, up], f"{prefix}.gate_up_proj")
            if is_joined:
                names = [f"{gate}.output", f"{up}.output"]
                graph.nodes("Split", [parts[0]], names, axis=-1, num_outputs=2)
                parts = names
            activated = self._activated(parts[0], f"{prefix}.activation")
            inner = graph.node("Mul", [activated, parts[1]], f"{prefix}.gated")
        else:
            inner = self._activated(self._linear(up, hidden), f"{prefix}.activation")
        return self._linear(f"{prefix}.down_proj", inner, self._residual_scale)

    def _activated(self, tensor: str, name: str) -> str:
        graph = self._graph
        activation: Activation = self._config.activation
        match activation:
            case "silu":
                return graph.node("Mul", [tensor, graph.node("Sigmoid", [tensor], f"{name}.sigmoid")], name)
            case "gelu":
                return graph.node("Gelu", [tensor], name)
            case "gelu_tanh":
                return graph.node("Gelu", [tensor], name, approximate="tanh")
            case "relu":
                return graph.node("Relu", [tensor], name)
            case "relu2":
                positive = graph.node("Relu", [tensor], f"{name}.relu")
                return graph.node("Mul", [positive, positive], name)

    def _last_tokens(self, tensor: str) -> str:
        """The last tokens of [B, S, ..], as many as `num_logits_to_keep` says."""
        graph = self._graph
        start = graph.node_once("Neg", [NUM_LOGITS], f"{NUM_LOGITS}.start")
        bounds = [start, graph.integers(_INT64_MAX), graph.integers(1)]
        return graph.node("Slice", [tensor, *bounds], f"{tensor}.last")

    def _linears(self, rows: str, names: Sequence[str], joined: str) -> tuple[bool, Sequence[str]]:
        """Several linear layers of the same input, as one if their matrices are stored alike."""
        matrices = [self._tensors[f"{name}.weight"] for name in names]
        if any(matrix.layout != matrices[0].layout for matrix in matrices):
            return False, [self._linear(name, rows) for name in names]
        product = self._products.multiply(rows, f"{joined}.weight", JoinedRows(matrices), f"{joined}.product")
        biases = [self._tensors.get(f"{name}.bias") for name in names]
        if all(bias is None for bias in biases):
            return True, [product]
        filled = [
            ArrayTensor(np.zeros(matrix.shape[0], np.float32)) if bias is None else bias
            for matrix, bias in zip(matrices, biases, strict=True)
        ]
        return True, [self._add_bias(product, joined, JoinedRows(filled))]

    def _linear(self, name: str, rows: str, scale: float = 1, *, bias_scale: float | None = None) -> str:
        """A linear layer. `scale` multiplies the matrix and, without `bias_scale`, the bias."""
        matrix, bias = self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias")
        product = self._products.multiply(rows, f"{name}.weight", _scaled(matrix, scale), f"{name}.product")
        if bias is None:
            return product
        return self._add_bias(product, name, _scaled(bias, scale if bias_scale is None else bias_scale))

    def _add_bias(self, product: str, name: str, bias: Tensor) -> str:
        stored = self._stored(f"{name}.bias", bias, self._float_type)
        return self._graph.node("Add", [product, stored], f"{name}.output")

    def _stored(self, name: str, tensor: Tensor, float_type: FloatType) -> str:
        return self._graph.weight(FloatWeight(name=name, tensor=tensor, element_type=float_type))[0]


def _scaled(tensor: Tensor, factor: float) -> Tensor:
    return tensor if factor == 1 else Scaled(tensor, factor)
