"""Writes small decomposed decoders in the forms that exporters give to attention.

A decoder has two layers of attention alone. Its weights are random, and its logits are the hidden states times the
embeddings. Each form is a field of `Form`.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, HIDDEN, LAYERS, CONTEXT = 48, 32, 2, 96
MASKED = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the attention of a decoder is, and how it is written."""

    num_heads: int = 4
    num_kv_heads: int = 2
    head_size: int = 8
    scale: Literal["scores", "query", "both", "shape", "none"] = "scores"
    softcap: float | None = None
    window: int | None = None
    has_sinks: bool = False
    has_alibi: bool = False
    mask: Literal["add", "where", "before scale", "one token", "not causal", "every other", "of tokens"] = "add"
    """one token: right for a single new token in a run."""
    positions: Literal["input", "past", "table", "none"] = "input"
    head: Literal["plain", "capped", "pruned", "two products", "shared"] = "plain"
    """What follows the last layer. pruned: the last token alone. shared: the logits depend on the states twice."""
    reads_past: bool = False
    """Whether the logits depend on the length of the past."""
    turns_whole_keys: bool = False
    """Whether the keys of the past are changed, too, each time."""


class _Writer:
    def __init__(self, form: Form, seed: int) -> None:
        self.form = form
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.random = np.random.default_rng(seed)
        self.width = form.num_heads * form.head_size

    def op(self, op_type: str, *inputs: str, output: str | None = None, **attributes: int | list[int]) -> str:
        output = output or f"{op_type}_{len(self.nodes)}"
        node = helper.make_node(op_type, inputs, [output])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return output

    def as_float(self, name: str) -> str:
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.int64) -> str:
        array = np.array(value, dtype)
        name = f"constant_{array.dtype}_{array.tobytes().hex()[:64]}_{array.ndim}"
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str, *shape: int) -> str:
        values = self.random.normal(0, 0.5, shape).astype(np.float32)
        self.initializers[name] = numpy_helper.from_array(values, name)
        return name

    def length(self, name: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", name), self.constant(axis))

    def vector(self, scalar: str) -> str:
        return self.op("Unsqueeze", scalar, self.constant([0]))

    def model(self) -> onnx.ModelProto:
        embeddings = self.weight("embeddings", VOCABULARY, HIDDEN)
        hidden = self.op("Gather", embeddings, "input_ids")
        self.past = self.length("past_key_values.0.key", 2)
        self.new = self.length("input_ids", 1)
        self.total = self.op("Add", self.past, self.new)
        if (positions := self.positions()) is not None:
            hidden = self.op("Add", hidden, self.op("Gather", self.weight("places", CONTEXT, HIDDEN), positions))
        if self.form.positions == "table":
            ends = (self.constant([0]), self.vector(self.total), self.constant([0]))
            table = self.op("Slice", self.weight("places", CONTEXT, HIDDEN), *ends)
            hidden = self.op("Add", hidden, self.op("Gather", table, "position_ids"))
        bias = self.bias()
        for layer in range(LAYERS):
            hidden = self.op("Add", hidden, self.attention(layer, hidden, bias))
        if self.form.reads_past:
            past = self.as_float(self.past)
            hidden = self.op("Add", hidden, past)
        self.head(hidden, self.op("Transpose", embeddings, perm=[1, 0]))
        return self.finished()

    def head(self, hidden: str, matrix: str) -> None:
        match self.form.head:
            case "plain":
                self.op("MatMul", hidden, matrix, output="logits")
            case "capped":
                cap = self.constant(500, np.float32)
                scaled = self.op("Div", self.op("MatMul", hidden, matrix), cap)
                self.op("Mul", self.op("Tanh", scaled), cap, output="logits")
            case "pruned":
                last = self.op("Gather", hidden, self.constant(-1), axis=1)
                self.op("MatMul", self.op("Unsqueeze", last, self.constant([1])), matrix, output="logits")
            case "two products":
                parts = [
                    self.op("MatMul", hidden, each) for each in (matrix, self.weight("matrix", HIDDEN, VOCABULARY))
                ]
                self.op("Add", *parts, output="logits")
            case "shared":
                mean = self.op("ReduceMean", hidden, axes=[2], keepdims=1)
                self.op("Add", self.op("MatMul", hidden, matrix), mean, output="logits")

    def positions(self) -> str | None:
        match self.form.positions:
            case "input":
                return "position_ids"
            case "past":
                return self.vector(self.op("Range", self.past, self.total, self.constant(1)))
            case "table" | "none":
                return None

    def bias(self) -> str:
        """(1, 1, S, T) or (1, H, S, T), what is added to the scores."""
        form = self.form
        rows = self.op("Range", self.past, self.total, self.constant(1))
        row = self.op("Unsqueeze", rows, self.constant([1]))
        columns = self.op("Range", self.constant(0), self.total, self.constant(1))
        seen = self.op("LessOrEqual", columns, row)
        if form.mask == "one token":
            seen = self.op("Less", columns, self.total)
        if form.mask == "not causal":
            seen = self.op("LessOrEqual", columns, self.op("Add", row, self.constant(1)))
        if form.mask == "every other":
            even = self.op("Equal", self.op("Mod", columns, self.constant(2)), self.constant(0))
            seen = self.op("And", seen, self.op("Or", even, self.op("Equal", columns, row)))
        if form.mask == "of tokens":
            kept = self.op("Greater", self.op("ReduceMax", "input_ids", keepdims=0), self.constant(3))
            seen = self.op("And", seen, kept)
        if form.window is not None:
            first = self.op("Sub", row, self.constant(form.window))
            seen = self.op("And", seen, self.op("Greater", columns, first))
        real = self.op("Cast", "attention_mask", to=TensorProto.BOOL)
        seen = self.op("And", seen, self.op("Unsqueeze", real, self.constant([1, 2])))
        shut = -np.inf if form.mask == "where" else MASKED
        bias = self.op("Where", seen, self.constant(0, np.float32), self.constant(shut, np.float32))
        if form.has_alibi:
            slopes = self.constant(-(0.5 ** np.arange(1, form.num_heads + 1)).reshape(-1, 1, 1), np.float32)
            distance = self.as_float(self.op("Sub", row, columns))
            bias = self.op("Add", bias, self.op("Mul", distance, slopes))
        return bias

    def heads(self, layer: int, side: str, hidden: str, num_heads: int) -> str:
        size = self.form.head_size
        product = self.op("MatMul", hidden, self.weight(f"{side}_{layer}", HIDDEN, num_heads * size))
        split = self.op("Reshape", product, self.constant([0, 0, num_heads, size]))
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def repeated(self, whole: str) -> str:
        form = self.form
        if form.num_kv_heads == 1:
            return whole
        group = form.num_heads // form.num_kv_heads
        copies = self.op("Expand", self.op("Unsqueeze", whole, self.constant([2])), self.constant([1, 1, group, 1, 1]))
        return self.op("Reshape", copies, self.constant([0, form.num_heads, -1, form.head_size]))

    def attention(self, layer: int, hidden: str, bias: str) -> str:
        form = self.form
        query = self.heads(layer, "query", hidden, form.num_heads)
        key, value = (self.heads(layer, side, hidden, form.num_kv_heads) for side in ("key", "value"))
        keys = self.op("Concat", f"past_key_values.{layer}.key", key, output=f"present.{layer}.key", axis=2)
        values = self.op("Concat", f"past_key_values.{layer}.value", value, output=f"present.{layer}.value", axis=-2)
        if form.turns_whole_keys:
            turn = self.constant(self.random.normal(size=form.head_size), np.float32)
            keys = self.op("Mul", keys, turn)
        scores = self.scores(query, self.op("Transpose", self.repeated(keys), perm=[0, 1, 3, 2]), bias)
        weights = self.weights(layer, scores, bias)
        mixed = self.op("Transpose", self.op("MatMul", weights, self.repeated(values)), perm=[0, 2, 1, 3])
        flat = self.op("Reshape", mixed, self.constant([0, 0, self.width]))
        return self.op("MatMul", flat, self.weight(f"output_{layer}", self.width, HIDDEN))

    def scores(self, query: str, keys: str, bias: str) -> str:
        scale = self.constant(0.3, np.float32)
        match self.form.scale:
            case "query":
                return self.op("MatMul", self.op("Mul", query, scale), keys)
            case "both":
                root = self.constant(np.sqrt(0.3), np.float32)
                return self.op("MatMul", self.op("Mul", query, root), self.op("Mul", keys, root))
            case "shape":
                size = self.as_float(self.length(query, 3))
                return self.op("MatMul", self.op("Div", query, self.op("Sqrt", size)), keys)
            case "scores":
                scores = self.op("MatMul", query, keys)
                if self.form.mask == "before scale":
                    scores = self.op("Add", scores, bias)
                return self.op("Mul", scores, scale)
            case "none":
                return self.op("MatMul", query, keys)

    def weights(self, layer: int, scores: str, bias: str) -> str:
        form = self.form
        if form.softcap is not None:
            cap = self.constant(form.softcap, np.float32)
            scores = self.op("Mul", self.op("Tanh", self.op("Div", scores, cap)), cap)
        if form.mask != "before scale":
            scores = self.op("Add", scores, bias)
        if not form.has_sinks:
            return self.op("Softmax", scores, axis=-1)
        rows = self.op("Slice", self.op("Shape", scores), self.constant([0]), self.constant([3]))
        shape = self.op("Concat", rows, self.constant([1]), axis=0)
        sinks = self.op("Expand", self.weight(f"sinks_{layer}", 1, form.num_heads, 1, 1), shape)
        logits = self.op("Concat", scores, sinks, axis=-1)
        shifted = self.op("Sub", logits, self.op("ReduceMax", logits, axes=[-1], keepdims=1))
        weights = self.op("Softmax", shifted, axis=-1)
        return self.op("Slice", weights, self.constant([0]), self.constant([-1]), self.constant([3]))

    def finished(self) -> onnx.ModelProto:
        form, value = self.form, helper.make_tensor_value_info
        inputs = [value("input_ids", TensorProto.INT64, ["batch", "new"])]
        inputs.append(value("attention_mask", TensorProto.INT64, ["batch", "total"]))
        if form.positions in ("input", "table"):
            inputs.append(value("position_ids", TensorProto.INT64, ["batch", "new"]))
        num_logits = 1 if form.head == "pruned" else "new"
        outputs = [value("logits", TensorProto.FLOAT, ["batch", num_logits, VOCABULARY])]
        for layer in range(LAYERS):
            for side in ("key", "value"):
                axes = ["batch", form.num_kv_heads, "past", form.head_size]
                inputs.append(value(f"past_key_values.{layer}.{side}", TensorProto.FLOAT, axes))
                axes = ["batch", form.num_kv_heads, "total", form.head_size]
                outputs.append(value(f"present.{layer}.{side}", TensorProto.FLOAT, axes))
        graph = helper.make_graph(self.nodes, "decoder", inputs, outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
        return model


def decomposed_decoder(form: Form, *, seed: int = 0) -> bytes:
    """The serialized model of a decoder."""
    return _Writer(form, seed).model().SerializeToString()


def merged_decoder(form: Form) -> bytes:
    """The serialized model of two decoders in one file: `use_cache_branch` chooses the one for a single new token."""
    one_token, prompt = (_Writer(each, 0).model().graph for each in (replace(form, mask="one token"), form))
    branches: list[onnx.GraphProto] = []
    for graph in (one_token, prompt):
        outputs = [helper.make_tensor_value_info(value.name, TensorProto.FLOAT, None) for value in graph.output]
        branches.append(helper.make_graph(graph.node, "branch", [], outputs))
    names = [value.name for value in prompt.output]
    choice = helper.make_node("If", ["use_cache_branch"], names, then_branch=branches[0], else_branch=branches[1])
    inputs = [*prompt.input, helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])]
    weights = {tensor.name: tensor for graph in (one_token, prompt) for tensor in graph.initializer}
    graph = helper.make_graph([choice], "decoders", inputs, prompt.output, list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
    return model.SerializeToString()
