"""Fused attention over a KV cache.

Past and present may share a buffer, and the rows of a batch may differ in length.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from onward_server.export.decoder_config import DecoderConfig, Layer, Rope
from onward_server.export.graph.onnx_graph import MICROSOFT, Attribute, Graph
from onward_server.export.graph.products import ONNX_FLOATS
from onward_server.export.graph.rotation import HeadLayout, RotaryTable
from onward_server.export.graph.stored_weights import FloatType, FloatWeight

ROPE_LENGTH = "rope_length"
"""Input: the length of all sequences of a run, if the rotation depends on it; 0, the default: each row's own length."""
SWITCH_LENGTH = "onward.switch_length"
"""Property of the model: the greatest length that has the rotation of short sequences."""


@dataclass(frozen=True, slots=True)
class _Rotation:
    """The tables of a rotation, and how it is done."""

    cosines: str
    sines: str
    num_rotated: int
    """Dimensions of a head that are rotated."""
    positions: str
    """Indices [B, S] of the tables' rows, if RotaryEmbedding nodes rotate; empty if GroupQueryAttention rotates."""


class Attention:
    """The GroupQueryAttention nodes of a decoder, and the tensors that they share."""

    def __init__(self, graph: Graph, config: DecoderConfig, float_type: FloatType) -> None:
        """Declares mask and caches, and computes the row lengths, which the operator needs, from the mask."""
        self._graph = graph
        self._config = config
        self._float_type: FloatType = float_type
        self._heads = HeadLayout.of(config)
        graph.input("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"])
        self._declare_caches()
        self._filled = graph.node("ReduceSum", ["attention_mask", graph.integers(1)], "mask.filled", keepdims=0)
        last = graph.node("Sub", [self._filled, graph.integers(1)], "mask.last")
        self._lengths = graph.node("Cast", [last], "mask.seqlens_k", to=TensorProto.INT32)
        self._total = graph.node(
            "Cast", [self._width("attention_mask")], "mask.total_sequence_length", to=TensorProto.INT32
        )
        self._rotations: dict[Rope, _Rotation] = {}
        self._declare_rope_length()

    def takes_joined(self, index: int) -> bool:
        """Whether `attend` accepts queries, keys and values side by side in `query`, with empty `key` and `value`."""
        rope = self._config.layers[index].rope
        return self._heads.is_own(rope) and (rope is None or rope.long is None)

    def attend(self, index: int, query: str, key: str, value: str) -> str:
        """Appends keys and values to the layer's cache and returns the attention output.

        Args:
            index: Index of the layer.
            query: [B, S, query heads * D].
            key: [B, S, KV heads * D].
            value: [B, S, KV heads * D].

        Returns:
            [B, S, query heads * D].
        """
        config, graph, layer = self._config, self._graph, self._config.layers[index]
        output = f"layers.{index}.attention"
        if not self._heads.is_own(layer.rope):
            query = self._arranged(query, config.num_heads, layer.rope)
            key = self._arranged(key, config.num_kv_heads, layer.rope)
            value = self._arranged(value, config.num_kv_heads, None)
        rotation = None if layer.rope is None else self._rotation(layer.rope)
        if rotation is not None and rotation.positions:
            query = self._rotated(query, config.num_heads, rotation)
            key = self._rotated(key, config.num_kv_heads, rotation)
            rotation = None
        inputs = [query, key, value, *(f"past_key_values.{index}.{side}" for side in ("key", "value"))]
        inputs += [self._lengths, self._total]
        if rotation is not None:
            inputs += [rotation.cosines, rotation.sines]
        graph.nodes(
            "GroupQueryAttention",
            inputs,
            [output, f"present.{index}.key", f"present.{index}.value"],
            domain=MICROSOFT,
            do_rotary=int(rotation is not None),
            **self._attributes(layer),
        )
        return self._without_padding(output)

    def _attributes(self, layer: Layer) -> dict[str, Attribute]:
        config = self._config
        attributes: dict[str, Attribute] = {
            "num_heads": config.num_heads,
            "kv_num_heads": config.num_kv_heads,
        }
        if config.attention_scale is not None or self._heads.size != config.head_dim:
            attributes["scale"] = config.attention_scale or config.head_dim**-0.5
        if config.attention_softcap is not None:
            attributes["softcap"] = config.attention_softcap
        if layer.window is not None:
            attributes["local_window_size"] = layer.window
        return attributes

    def _declare_caches(self) -> None:
        element_type = ONNX_FLOATS[self._float_type.__name__]
        for layer in range(len(self._config.layers)):
            for side in ("key", "value"):
                heads: tuple[int | str, ...] = ("batch_size", self._config.num_kv_heads)
                past = (*heads, "past_sequence_length", self._heads.size)
                present = (*heads, "total_sequence_length", self._heads.size)
                self._graph.input(f"past_key_values.{layer}.{side}", element_type, past)
                self._graph.output(f"present.{layer}.{side}", element_type, present)

    def _declare_rope_length(self) -> None:
        """Lets a run say how long its sequences are, as far as the choice of their rotation depends on it."""
        lengths = {layer.rope.long.above for layer in self._config.layers if layer.rope and layer.rope.long}
        if lengths:
            self._graph.overridable_integer(ROPE_LENGTH, 0)
        if len(lengths) == 1:
            self._graph.set_property(SWITCH_LENGTH, str(*lengths))

    def _width(self, name: str) -> str:
        """The size of the second axis, a scalar."""
        shape = self._graph.node("Shape", [name], f"{name}.shape")
        one = self._graph.constant("one", np.array(1, np.int64))
        return self._graph.node("Gather", [shape, one], f"{name}.width")

    def _rotation(self, rope: Rope) -> _Rotation:
        if rope not in self._rotations:
            number = len(self._rotations)
            cosines, sines = (self._table(rope, kind, number) for kind in ("cos", "sin"))
            positions = "" if rope.long is None else self._long_positions(rope.long.above, number)
            self._rotations[rope] = _Rotation(cosines, sines, 2 * self._heads.num_pairs(rope), positions)
        return self._rotations[rope]

    def _table(self, rope: Rope, kind: str, number: int) -> str:
        table = RotaryTable(rope, self._config.max_positions, self._heads.num_pairs(rope), kind == "sin")
        name = f"{kind}_cache" + (f".{number}" if number else "")
        return self._graph.weight(FloatWeight(name=name, tensor=table, element_type=self._float_type))[0]

    def _long_positions(self, above: int, number: int) -> str:
        """Rows of the tables [B, S]: a sequence of more than `above` tokens uses the second half of them."""
        graph, name = self._graph, f"rope.{number}"
        zero, one = (graph.constant(word, np.array(value, np.int64)) for word, value in (("zero", 0), ("one", 1)))
        steps = self._width("input_ids")
        start = graph.node("Sub", [self._filled, steps], f"{name}.start")
        start = graph.node("Max", [start, zero], f"{name}.first")  # a row that is padded on the right begins at 0
        limit = graph.constant(f"{name}.limit", np.array(above, np.int64))
        is_given = graph.node("Greater", [ROPE_LENGTH, zero], f"{name}.is_given")
        length = graph.node("Where", [is_given, ROPE_LENGTH, self._filled], f"{name}.length")
        is_long = graph.node("Greater", [length, limit], f"{name}.is_long")
        second = graph.constant(f"{name}.second_half", np.array(self._config.max_positions, np.int64))
        shift = graph.node("Where", [is_long, second, zero], f"{name}.shift")
        first = graph.node("Add", [start, shift], f"{name}.first_row")
        column = graph.node("Unsqueeze", [first, graph.integers(1)], f"{name}.column")
        range_ = graph.node("Range", [zero, steps, one], f"{name}.steps")
        return graph.node("Add", [column, range_], f"{name}.rows")

    def _rotated(self, tensor: str, count: int, rotation: _Rotation) -> str:
        """Rotates heads [B, S, count * D], each row by positions of its own."""
        return self._graph.node(
            "RotaryEmbedding",
            [tensor, rotation.positions, rotation.cosines, rotation.sines],
            f"{tensor}.rotated",
            domain=MICROSOFT,
            num_heads=count,
            rotary_embedding_dim=rotation.num_rotated if rotation.num_rotated < self._heads.size else 0,
        )

    def _arranged(self, tensor: str, count: int, rope: Rope | None) -> str:
        """Heads [B, S, count * D], padded and, for a rotation, in the order of `HeadLayout`."""
        graph, layout = self._graph, self._heads
        heads = graph.node("Reshape", [tensor, graph.integers(0, 0, count, layout.own_size)], f"{tensor}.heads")
        if rope is not None:
            zeros = graph.node("Pad", [heads, graph.integers(*[0] * 7, 1)], f"{tensor}.with_zero")
            order = [layout.own_size if index < 0 else index for index in layout.order(rope)]
            heads = graph.node("Gather", [zeros, graph.integers(*order)], f"{tensor}.arranged", axis=3)
        elif layout.size > layout.own_size:
            padding = graph.integers(*[0] * 7, layout.size - layout.own_size)
            heads = graph.node("Pad", [heads, padding], f"{tensor}.padded")
        return graph.node("Reshape", [heads, graph.integers(0, 0, count * layout.size)], f"{tensor}.padded_rows")

    def _without_padding(self, output: str) -> str:
        config, graph = self._config, self._graph
        if self._heads.size == config.head_dim:
            return output
        heads = graph.node(
            "Reshape", [output, graph.integers(0, 0, config.num_heads, self._heads.size)], f"{output}.heads"
        )
        bounds = [graph.integers(0), graph.integers(config.head_dim), graph.integers(3)]
        kept = graph.node("Slice", [heads, *bounds], f"{output}.kept")
        return graph.node("Reshape", [kept, graph.integers(0, 0, config.query_size)], f"{output}.rows")
