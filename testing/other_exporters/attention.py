"""The two forms of attention over a KV cache in a decoder graph: slots and growing."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.graph import MICROSOFT, Graph


class Attention(Protocol):
    """A form of attention. An instance holds the tensors that all layers share."""

    @property
    def takes_joined(self) -> bool:
        """True if `query` may hold queries, keys and values side by side, with `key` and `value` empty."""
        ...

    def attend(self, layer: int, query: str, key: str, value: str) -> str:
        """Appends keys and values to the layer's cache and returns the attention output.

        Args:
            layer: index of the layer.
            query: [B, S, query heads * D].
            key: [B, S, KV heads * D].
            value: [B, S, KV heads * D].

        Returns:
            [B, S, query heads * D].
        """
        ...


def rotary_tables(config: DecoderConfig) -> dict[str, NDArray[np.float32]]:
    """Cosines and sines of the half-split rotation, [max_positions, D / 2] each. Empty for a model without rotation."""
    if config.rope_theta is None:
        return {}
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim)
    angles = np.outer(np.arange(config.max_positions), frequencies)
    return {"cos_cache": np.cos(angles).astype(np.float32), "sin_cache": np.sin(angles).astype(np.float32)}


def _declare_caches(graph: Graph, config: DecoderConfig) -> None:
    for layer in range(config.num_layers):
        for side in ("key", "value"):
            heads: tuple[int | str, ...] = ("batch_size", config.num_kv_heads)
            past = (*heads, "past_sequence_length", config.head_dim)
            present = (*heads, "total_sequence_length", config.head_dim)
            graph.input(f"past_key_values.{layer}.{side}", TensorProto.FLOAT, past)
            graph.output(f"present.{layer}.{side}", TensorProto.FLOAT, present)


class SlotAttention:
    """Fused GroupQueryAttention: past and present may share a buffer, and the rows of a batch may differ in length."""

    takes_joined = True

    def __init__(self, graph: Graph, config: DecoderConfig) -> None:
        """Computes the row lengths, which the operator needs, from the attention mask."""
        self._graph = graph
        self._config = config
        graph.input("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"])
        _declare_caches(graph, config)
        self._rotation = [graph.constant(name, table) for name, table in rotary_tables(config).items()]
        filled = graph.node("ReduceSum", ["attention_mask", graph.integers(1)], "mask.filled", keepdims=0)
        last = graph.node("Sub", [filled, graph.integers(1)], "mask.last")
        self._lengths = graph.node("Cast", [last], "mask.seqlens_k", to=TensorProto.INT32)
        shape = graph.node("Shape", ["attention_mask"], "mask.shape")
        total = graph.node("Gather", [shape, graph.constant("one", np.array(1, np.int64))], "mask.width")
        self._total = graph.node("Cast", [total], "mask.total_sequence_length", to=TensorProto.INT32)

    def attend(self, layer: int, query: str, key: str, value: str) -> str:
        """See `Attention.attend`."""
        past = [f"past_key_values.{layer}.{side}" for side in ("key", "value")]
        output = f"layers.{layer}.attention"
        self._graph.nodes(
            "GroupQueryAttention",
            [query, key, value, *past, self._lengths, self._total, *self._rotation],
            [output, f"present.{layer}.key", f"present.{layer}.value"],
            domain=MICROSOFT,
            num_heads=self._config.num_heads,
            kv_num_heads=self._config.num_kv_heads,
            do_rotary=1 if self._rotation else 0,
        )
        return output


class GrowingAttention:
    """Attention of standard ONNX operators: caches grow by concatenation, and rows are padded on the left."""

    takes_joined = False

    def __init__(self, graph: Graph, config: DecoderConfig) -> None:
        """Gathers the rotary tables by position and computes the mask."""
        self._graph = graph
        self._config = config
        graph.input("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"])
        graph.input("position_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
        _declare_caches(graph, config)
        self._rotation: list[str] = []
        for name, table in rotary_tables(config).items():
            whole = graph.constant(name, np.concatenate([table, table], axis=1))
            rows = graph.node("Gather", [whole, "position_ids"], f"{name}.rows")
            self._rotation.append(graph.node("Unsqueeze", [rows, graph.integers(1)], f"{name}.heads"))
        self._bias = self._mask_bias()

    def attend(self, layer: int, query: str, key: str, value: str) -> str:
        """See `Attention.attend`."""
        graph, config, prefix = self._graph, self._config, f"layers.{layer}.attention"
        queries = self._rotate(self._heads(query, config.num_heads, f"{prefix}.query"), f"{prefix}.query")
        keys = self._rotate(self._heads(key, config.num_kv_heads, f"{prefix}.key"), f"{prefix}.key")
        values = self._heads(value, config.num_kv_heads, f"{prefix}.value")
        keys = self._repeat(self._extend(layer, "key", keys), f"{prefix}.key")
        values = self._repeat(self._extend(layer, "value", values), f"{prefix}.value")
        keys = graph.node("Transpose", [keys], f"{prefix}.key.transposed", perm=[0, 1, 3, 2])
        scale = graph.constant("attention.scale", np.array(config.head_dim**-0.5, np.float32))
        scores = graph.node("MatMul", [queries, keys], f"{prefix}.scores")
        scaled = graph.node("Mul", [scores, scale], f"{prefix}.scaled")
        masked = graph.node("Add", [scaled, self._bias], f"{prefix}.masked")
        shares = graph.node("Softmax", [masked], f"{prefix}.shares", axis=-1)
        mixed = graph.node("MatMul", [shares, values], f"{prefix}.mixed")
        turned = graph.node("Transpose", [mixed], f"{prefix}.turned", perm=[0, 2, 1, 3])
        return graph.node("Reshape", [turned, graph.integers(0, 0, config.query_size)], f"{prefix}.output")

    def _mask_bias(self) -> str:
        """0 where a query may attend, else the lowest float: [B, 1, S, total]."""
        graph = self._graph
        zero, one = (graph.constant(name, np.array(value, np.int64)) for name, value in (("zero", 0), ("one", 1)))
        total, steps = (
            graph.node("Gather", [graph.node("Shape", [source], f"mask.{name}.shape"), one], f"mask.{name}")
            for source, name in (("attention_mask", "total"), ("position_ids", "steps"))
        )
        columns = graph.node("Range", [zero, total, one], "mask.columns")
        past = graph.node("Sub", [total, steps], "mask.past")
        rows = graph.node("Range", [past, total, one], "mask.rows")
        rows = graph.node("Unsqueeze", [rows, graph.integers(1)], "mask.rows.column")
        causal = graph.node("LessOrEqual", [columns, rows], "mask.causal")
        real = graph.node("Cast", ["attention_mask"], "mask.real", to=TensorProto.BOOL)
        real = graph.node("Unsqueeze", [real, graph.integers(1, 2)], "mask.real.wide")
        seen = graph.node("And", [causal, real], "mask.seen")
        open_ = graph.constant("mask.open", np.array(0, np.float32))
        shut = graph.constant("mask.shut", np.array(np.finfo(np.float32).min, np.float32))
        return graph.node("Where", [seen, open_, shut], "mask.bias")

    def _heads(self, tensor: str, count: int, name: str) -> str:
        """[B, S, count * D] to [B, count, S, D]."""
        shape = self._graph.integers(0, 0, count, self._config.head_dim)
        split = self._graph.node("Reshape", [tensor, shape], f"{name}.split")
        return self._graph.node("Transpose", [split], f"{name}.heads", perm=[0, 2, 1, 3])

    def _rotate(self, heads: str, name: str) -> str:
        if not self._rotation:
            return heads
        graph, half = self._graph, self._config.head_dim // 2
        cosines, sines = self._rotation
        graph.nodes("Split", [heads, graph.integers(half, half)], [f"{name}.low", f"{name}.high"], axis=-1)
        negative = graph.node("Neg", [f"{name}.high"], f"{name}.high.negative")
        turned = graph.node("Concat", [negative, f"{name}.low"], f"{name}.turned", axis=-1)
        kept = graph.node("Mul", [heads, cosines], f"{name}.cosine")
        moved = graph.node("Mul", [turned, sines], f"{name}.sine")
        return graph.node("Add", [kept, moved], f"{name}.rotated")

    def _extend(self, layer: int, side: str, heads: str) -> str:
        past = f"past_key_values.{layer}.{side}"
        return self._graph.node("Concat", [past, heads], f"present.{layer}.{side}", axis=2)

    def _repeat(self, cache: str, name: str) -> str:
        """[B, KV heads, total, D] to [B, heads, total, D]: repeats each KV head for its group of query heads."""
        graph, config = self._graph, self._config
        group = config.num_heads // config.num_kv_heads
        one_more = graph.node("Unsqueeze", [cache, graph.integers(2)], f"{name}.grouped")
        copies = graph.node("Expand", [one_more, graph.integers(1, 1, group, 1, 1)], f"{name}.copies")
        shape = graph.integers(0, config.num_heads, -1, config.head_dim)
        return graph.node("Reshape", [copies, shape], f"{name}.repeated")
