"""Edits that give a tiny decoder the inputs and outputs of other exporters. They do not change its numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from testing.tiny_model import TINY

Edit = Callable[[ModelProto], None]

HEADS, WIDTH = TINY.num_kv_heads, TINY.head_dim
BATCH, PAST, TOTAL = "batch_size", "past_sequence_length", "total_sequence_length"


def inputs_of_type(element_type: int, *names: str) -> Edit:
    """Takes these inputs in another type."""

    def edit(model: ModelProto) -> None:
        for value in model.graph.input:
            if value.name in names:
                value.type.tensor_type.elem_type = element_type
                read_instead(model.graph, value.name, node("Cast", [value.name], f"{value.name}.int64", to=7))

    return edit


def logits_of_type(element_type: int) -> Edit:
    """Returns the logits in another type."""

    def edit(model: ModelProto) -> None:
        replace_output(model.graph, "logits", "Cast", to=element_type)
        model.graph.output[0].type.tensor_type.elem_type = element_type

    return edit


def rounded_logits(element_type: int) -> Edit:
    """Returns the logits in float32 as they are in another type."""

    def edit(model: ModelProto) -> None:
        replace_output(model.graph, "logits", "Cast", to=element_type)
        replace_output(model.graph, "logits", "Cast", to=TensorProto.FLOAT)

    return edit


def last_logits_only(*, has_token_axis: bool) -> Edit:
    """Returns the logits of the last token only, (B, 1, V) or (B, V)."""

    def edit(model: ModelProto) -> None:
        graph = model.graph
        index = constant(graph, "last", np.array([-1] if has_token_axis else -1, np.int64))
        replace_output(graph, "logits", "Gather", [index], axis=1)
        shape = [BATCH, 1, TINY.vocab_size] if has_token_axis else [BATCH, TINY.vocab_size]
        graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))

    return edit


def logits_to_keep(shape: Sequence[int], element_type: int = TensorProto.INT64) -> Edit:
    """Takes the number of last tokens that get logits."""

    def edit(model: ModelProto) -> None:
        graph = model.graph
        graph.input.append(helper.make_tensor_value_info("logits_to_keep", element_type, shape))
        shape_of_start = constant(graph, "keep.shape", np.array([1], np.int64))
        end = constant(graph, "keep.end", np.array([2**31], np.int64))
        axis = constant(graph, "keep.axis", np.array([1], np.int64))
        graph.node.extend(
            [
                node("Cast", ["logits_to_keep"], "keep.int64", to=7),
                node("Neg", ["keep.int64"], "keep.negative"),
                node("Reshape", ["keep.negative", shape_of_start], "keep.start"),
            ]
        )
        replace_output(graph, "logits", "Slice", ["keep.start", end, axis])

    return edit


def cache_position(model: ModelProto) -> None:
    """Takes the positions of all rows as one vector."""
    graph = model.graph
    (positions,) = [value for value in graph.input if value.name == "position_ids"]
    graph.input.remove(positions)
    graph.input.append(helper.make_tensor_value_info("cache_position", TensorProto.INT64, ["sequence_length"]))
    axis = constant(graph, "row", np.array([0], np.int64))
    read_instead(graph, "position_ids", node("Unsqueeze", ["cache_position", axis], "positions.row"))


def fixed_axis(axis: int) -> Edit:
    """Takes a single row (axis 0) or a single token (axis 1) a run."""

    def edit(model: ModelProto) -> None:
        for value in model.graph.input:
            if value.name in ("input_ids", "position_ids"):
                value.type.tensor_type.shape.dim[axis].dim_value = 1

    return edit


def renamed_caches(name_of: Callable[[str, int, str], str]) -> Edit:
    """Gives the caches the names `name_of("past" or "present", layer, "key" or "value")`."""

    def edit(model: ModelProto) -> None:
        for layer in range(TINY.num_layers):
            for side in ("key", "value"):
                rename(model.graph, f"past_key_values.{layer}.{side}", name_of("past", layer, side))
                rename(model.graph, f"present.{layer}.{side}", name_of("present", layer, side))

    return edit


def layers_with_gaps(model: ModelProto) -> None:
    """Numbers the layers 0, 3, 6, as where some layers share the caches of others."""
    for layer in reversed(range(TINY.num_layers)):
        for side in ("key", "value"):
            rename(model.graph, f"past_key_values.{layer}.{side}", f"past_key_values.{3 * layer}.{side}")
            rename(model.graph, f"present.{layer}.{side}", f"present.{3 * layer}.{side}")


def merged_rows_and_heads(model: ModelProto) -> None:
    """Takes keys as (B * H, D, length) and values as (B * H, length, D), as BLOOM."""
    merged = f"{BATCH} * num_heads"
    for layer in range(TINY.num_layers):
        reshape_cache(model.graph, layer, "key", lambda length: [merged, WIDTH, length], [0, 2, 1])
        reshape_cache(model.graph, layer, "value", lambda length: [merged, length, WIDTH], [0, 1, 2])


def tokens_before_heads(model: ModelProto) -> None:
    """Takes caches as (B, length, H, D)."""
    for layer in range(TINY.num_layers):
        for side in ("key", "value"):
            reshape_cache(model.graph, layer, side, lambda length: [BATCH, length, HEADS, WIDTH], [0, 2, 1, 3])


def keys_with_values(model: ModelProto) -> None:
    """Takes keys and values as one cache (2, B, H, length, D), as the scripts of ONNX Runtime export GPT-2."""
    for layer in range(TINY.num_layers):
        fuse_caches(model.graph, layer, f"past_{layer}", f"present_{layer}", axis=None)


def keys_beside_values(model: ModelProto) -> None:
    """Takes keys and values as one cache (B, H, length, 2 * D), as GPT-BigCode."""
    for layer in range(TINY.num_layers):
        names = (f"past_key_values.{layer}.key_value", f"present.{layer}.key_value")
        fuse_caches(model.graph, layer, *names, axis=3)


def two_graphs(model: ModelProto) -> None:
    """Puts two graphs into one file: one starts a prompt, the other reads the caches and takes one token."""
    graph = model.graph
    body = GraphProto()
    body.CopyFrom(graph)
    start, follow = branch(body, "start"), branch(body, "follow")
    for layer in range(TINY.num_layers):
        for side in ("key", "value"):
            empty = numpy_helper.from_array(np.zeros((1, HEADS, 0, WIDTH), np.float32), f"empty.{layer}.{side}")
            start.initializer.append(empty)
            for reader in start.node:
                replace_inputs(reader, f"past_key_values.{layer}.{side}", empty.name)
    for name in ("input_ids", "position_ids"):
        index = constant(graph, "last", np.array([-1], np.int64))
        first = node("Gather", [name, index], f"follow.{name}", axis=1)
        for reader in follow.node:
            replace_inputs(reader, name, first.output[0])
        follow.node.insert(0, first)
    del graph.node[:]
    names = [output.name for output in graph.output]
    graph.node.append(helper.make_node("If", ["use_cache_branch"], names, then_branch=follow, else_branch=start))
    graph.input.append(helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1]))


def branch(body: GraphProto, name: str) -> GraphProto:
    """The nodes of a graph as a branch, whose values have names of their own."""
    made = GraphProto(name=name)
    made.node.extend(body.node)
    own = {output for item in made.node for output in item.output if output}
    for item in made.node:
        for names in (item.input, item.output):
            names[:] = [f"{name}.{value}" if value in own else value for value in names]
    for output in body.output:
        copy = made.output.add()
        copy.CopyFrom(output)
        copy.name = f"{name}.{output.name}"
    return made


def long_rope(threshold: int) -> Edit:
    """Rotates more slowly as soon as a run is longer than the threshold, as the exports of Phi-3 128k."""

    def edit(model: ModelProto) -> None:
        graph = model.graph
        tables = [tensor for tensor in graph.initializer if tensor.name in ("cos_cache", "sin_cache")]
        branches: list[GraphProto] = []
        for name, stride in (("long", 3), ("short", 1)):
            made = GraphProto(name=name)
            for tensor in tables:
                table = numpy_helper.to_array(tensor)
                rows = np.arange(len(table)) // stride
                value = numpy_helper.from_array(table[rows], f"{name}.{tensor.name}")
                made.node.append(helper.make_node("Constant", [], [value.name], value=value))
                made.output.append(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, table.shape))
            branches.append(made)
        names = [tensor.name for tensor in tables]
        for tensor in tables:
            graph.initializer.remove(tensor)
        takes_positions = "position_ids" in {value.name for value in graph.input}
        limit = constant(graph, "rope.limit", np.array(threshold - takes_positions, np.int64))
        last = constant(graph, "rope.axis", np.array(1, np.int64))
        choice = helper.make_node("If", ["rope.is_long"], names, then_branch=branches[0], else_branch=branches[1])
        made_nodes = [node("Greater", ["rope.length", limit], "rope.is_long"), choice]
        if takes_positions:
            made_nodes.insert(0, node("ReduceMax", ["position_ids"], "rope.length", keepdims=0))
        else:
            made_nodes.insert(0, node("Gather", ["rope.mask", last], "rope.length"))
            made_nodes.insert(0, node("Shape", ["attention_mask"], "rope.mask"))
        for item in reversed(made_nodes):
            graph.node.insert(0, item)

    return edit


def windows(size: int, *, keeps_window_only: bool) -> Edit:
    """Lets the odd layers attend to the last tokens only, and keep only those in their caches."""

    def edit(model: ModelProto) -> None:
        attention = [item for item in model.graph.node if item.op_type == "GroupQueryAttention"]
        for item in attention[1::2]:
            item.attribute.append(helper.make_attribute("local_window_size", size))
            item.attribute.append(helper.make_attribute("sliding_window_cache", int(keeps_window_only)))

    return edit


def quantized_caches(bits: int) -> Edit:
    """Keeps keys and values as integers of 8 bits, or of 4 bits in pairs, with one scale."""

    def edit(model: ModelProto) -> None:
        element_type, width = (TensorProto.INT8, WIDTH) if bits == 8 else (TensorProto.UINT8, WIDTH // 2)
        for value in (*model.graph.input, *model.graph.output):
            if value.name.startswith(("past", "present")):
                value.type.tensor_type.elem_type = element_type
                value.type.tensor_type.shape.dim[3].dim_value = width
        scale = constant(model.graph, "cache.scale", np.array([6 / 2 ** (bits - 1)], np.float32))
        for item in model.graph.node:
            if item.op_type == "GroupQueryAttention":
                item.input.extend([""] * (12 - len(item.input)) + [scale, scale])
                for name in ("k_quant_type", "v_quant_type"):
                    item.attribute.append(helper.make_attribute(name, "PER_TENSOR"))
                item.attribute.append(helper.make_attribute("kv_cache_bit_width", bits))

    return edit


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> NodeProto:
    made = helper.make_node(kind, inputs, [output])
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


def constant(graph: GraphProto, name: str, value: np.ndarray[Any, Any]) -> str:
    if name not in {tensor.name for tensor in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def replace_inputs(reader: NodeProto, old: str, new: str) -> None:
    reader.input[:] = [new if name == old else name for name in reader.input]


def read_instead(graph: GraphProto, old: str, made: NodeProto) -> None:
    """Lets all nodes read the output of a new node instead of a value."""
    for reader in graph.node:
        replace_inputs(reader, old, made.output[0])
    graph.node.insert(0, made)


def replace_output(
    graph: GraphProto, name: str, kind: str, inputs: Sequence[str] = (), **attributes: int | Sequence[int]
) -> None:
    """Passes a graph output through one more node; other readers keep reading what it was."""
    before = f"{name}.before.{len(graph.node)}"
    for item in graph.node:
        replace_inputs(item, name, before)
        item.output[:] = [before if output == name else output for output in item.output]
    graph.node.append(node(kind, [before, *inputs], name, **attributes))


def rename(graph: GraphProto, old: str, new: str) -> None:
    for value in (*graph.input, *graph.output):
        value.name = new if value.name == old else value.name
    for item in graph.node:
        replace_inputs(item, old, new)
        item.output[:] = [new if name == old else name for name in item.output]


def reshape_cache(
    graph: GraphProto, layer: int, side: str, shape: Callable[[str], list[int | str]], axes: list[int]
) -> None:
    """Gives a cache another shape. `axes` turns it into (B, H, length, D) or (H, length, D), and back."""
    past, present = f"past_key_values.{layer}.{side}", f"present.{layer}.{side}"
    (value,) = [value for value in graph.input if value.name == past]
    value.CopyFrom(helper.make_tensor_value_info(past, TensorProto.FLOAT, shape(PAST)))
    if len(axes) == 4:
        read_instead(graph, past, node("Transpose", [past], f"{past}.standard", perm=axes))
        replace_output(graph, present, "Transpose", perm=axes)
    else:  # for one row
        row = constant(graph, "row", np.array([0], np.int64))
        read_instead(graph, past, node("Unsqueeze", [f"{past}.turned", row], f"{past}.standard"))
        graph.node.insert(0, node("Transpose", [past], f"{past}.turned", perm=axes))
        replace_output(graph, present, "Squeeze", [row])
        replace_output(graph, present, "Transpose", perm=axes)
    (output,) = [output for output in graph.output if output.name == present]
    output.CopyFrom(helper.make_tensor_value_info(present, TensorProto.FLOAT, shape(TOTAL)))


def fuse_caches(graph: GraphProto, layer: int, past: str, present: str, *, axis: int | None) -> None:
    """Makes one cache of keys and values: along an axis, or a new first one."""
    sides = [f"{layer}.{side}" for side in ("key", "value")]
    values = [value for value in graph.input if value.name.removeprefix("past_key_values.") in sides]
    outputs = [value for value in graph.output if value.name.removeprefix("present.") in sides]
    for value in values:
        graph.input.remove(value)
    for value in outputs:
        graph.output.remove(value)

    def shape(length: str) -> list[int | str]:
        return [2, BATCH, HEADS, length, WIDTH] if axis is None else [BATCH, HEADS, length, 2 * WIDTH]

    graph.input.append(helper.make_tensor_value_info(past, TensorProto.FLOAT, shape(PAST)))
    graph.output.append(helper.make_tensor_value_info(present, TensorProto.FLOAT, shape(TOTAL)))
    halves = [f"past_key_values.{side}" for side in sides]
    presents = [f"present.{side}" for side in sides]
    if axis is not None:
        graph.node.insert(0, helper.make_node("Split", [past], halves, axis=axis, num_outputs=2))
        graph.node.append(node("Concat", presents, present, axis=axis))
        return
    for index, half in enumerate(halves):
        which = constant(graph, f"half.{index}", np.array(index, np.int64))
        graph.node.insert(0, node("Gather", [past, which], half, axis=0))
    first = constant(graph, "first", np.array([0], np.int64))
    graph.node.extend(node("Unsqueeze", [name, first], f"{name}.one") for name in presents)
    graph.node.append(node("Concat", [f"{name}.one" for name in presents], present, axis=0))


def edited(model: onnx.ModelProto, edit: Edit) -> onnx.ModelProto:
    """A copy of the model with an edit."""
    copy = ModelProto()
    copy.CopyFrom(model)
    edit(copy)
    return copy
