"""Element types and shapes of the values of a graph, inferred for a run of some lengths."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, defs, helper, numpy_helper
from onnx.checker import ValidationError
from onnx.defs import SchemaError
from onnx.shape_inference import InferenceError, infer_node_outputs, infer_shapes

Array = npt.NDArray[np.generic]
Node = NodeProto
Shape = tuple[int | None, ...]

INT32, INT64 = int(TensorProto.INT32), int(TensorProto.INT64)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The lengths of a run for which shapes are inferred and values are evaluated."""

    batch: int
    new: int
    past: int

    @property
    def total(self) -> int:
        """Past and new tokens."""
        return self.past + self.new


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, as its ONNX number, and shape; None for an axis of unknown length."""

    element_type: int
    shape: Shape | None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The element type as numpy's."""
        return dtype_of(self.element_type)


_KEEPS_SHAPE = frozenset(
    {
        "BiasGelu",
        "FastGelu",
        "Gelu",
        "GroupQueryAttention",
        "QuickGelu",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
    }
)
"""Operators of ONNX Runtime whose first output has the shape of the first input."""


def infer_types(original: ModelProto, nodes: Iterable[Node], sizes: Sizes) -> dict[str, TensorType]:
    """Infers the types of all values for which onnx alone can do that.

    Args:
        original: The model.
        nodes: Its nodes, each after those whose outputs it reads.
        sizes: Lengths of the run.
    """
    model = ModelProto(ir_version=original.ir_version, opset_import=original.opset_import)
    graph = model.graph
    graph.input.extend(original.graph.input)
    graph.output.extend(original.graph.output)
    for value in (*graph.input, *graph.output):
        _set_lengths(value, sizes)
    graph.initializer.extend(original.graph.initializer)
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in nodes:
        stand_ins, weight = _stand_in(node, weights)
        graph.node.extend(stand_ins)
        graph.input.extend([weight] if weight is not None else [])
    inferred = infer_shapes(model, data_prop=True).graph
    types = {value.name: type_of(value.type) for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    return types | {tensor.name: TensorType(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}


def infer_outputs(
    original: ModelProto, node: Node, types: Mapping[str, TensorType], values: Mapping[str, Array]
) -> dict[str, TensorType]:
    """Infers the types of a node's outputs; those that cannot be inferred are left out.

    Args:
        original: The model.
        node: The node.
        types: Types of values.
        values: Values among the inputs that decide shapes.
    """
    known = {name: types[name] for name in node.input if name in types}
    shapes = {name: [length or 0 for length in known[name].shape or ()] for name in known}
    stand_ins, weight = _stand_in(node, shapes)
    if weight is not None:
        known[weight.name] = type_of(weight.type)
    input_types = {name: helper.make_tensor_type_proto(each.element_type, each.shape) for name, each in known.items()}
    input_values = {name: numpy_helper.from_array(value, name) for name, value in values.items()}
    opsets = list(original.opset_import)
    version = next((opset.version for opset in opsets if opset.domain in ("", "ai.onnx")), 1)
    found: dict[str, TensorType] = {}
    for each in stand_ins:
        if each.domain or not all(name in known for name in each.input if name):
            continue
        try:
            schema = defs.get_schema(each.op_type, version)
            outputs = infer_node_outputs(schema, each, input_types, input_values, opset_imports=opsets)
        except (InferenceError, SchemaError, ValidationError):
            continue
        found |= {name: type_of(output) for name, output in outputs.items()}
    return found


def element_type_of(dtype: np.dtype[np.generic]) -> int:
    """The number that ONNX gives an element type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def dtype_of(element_type: int) -> np.dtype[np.generic]:
    """The element type with a number of ONNX."""
    return helper.tensor_dtype_to_np_dtype(element_type)


def type_of(value: TypeProto) -> TensorType:
    """Element type and shape of a type."""
    tensor = value.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim)
    return TensorType(tensor.elem_type, shape if tensor.HasField("shape") else None)


def _set_lengths(value: ValueInfoProto, sizes: Sizes) -> None:
    """Gives a known input or output its lengths; those of logits are inferred."""
    axes = value.type.tensor_type.shape.dim
    if value.name == "logits":
        value.type.tensor_type.ClearField("shape")
    elif value.name.startswith(("past", "present")) and len(axes) == 4:
        axes[0].dim_value, axes[2].dim_value = sizes.batch, sizes.past
        if value.name.startswith("present"):
            axes[2].dim_value = sizes.total
    elif len(axes) == 2:
        lengths = {"attention_mask": sizes.total}
        axes[0].dim_value, axes[1].dim_value = sizes.batch, lengths.get(value.name, sizes.new)


def _stand_in(node: Node, weights: Mapping[str, Sequence[int]]) -> tuple[list[Node], ValueInfoProto | None]:
    """Nodes of ONNX whose outputs have the shapes of those of an operator of ONNX Runtime, and their new input."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute if attribute.type == attribute.INT}
    weight = weights.get(node.input[1]) if len(node.input) > 1 else None
    shape: tuple[int, ...]
    match node.op_type:
        case "MatMulNBits" | "MatMulBnb4":
            op_type, shape = "MatMul", (attributes["K"], attributes["N"])
        case "GatherBlockQuantized":
            scales = weights[node.input[2]]
            op_type, shape = "Gather", (scales[0], scales[-1] * attributes.get("block_size", 128))
        case "FusedMatMul" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" if weight is not None:
            op_type, shape = "MatMul", tuple(weight)
        case "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization":
            outputs = [node.output[index] for index in (0, 3) if index < len(node.output)]
            return [helper.make_node("Identity", node.input[:1], [name]) for name in outputs if name], None
        case name if name in _KEEPS_SHAPE:
            return [helper.make_node("Identity", node.input[:1], node.output[:1])], None
        case _:
            return [node], None
    dummy = helper.make_tensor_value_info(f"{node.output[0]}/weight", TensorProto.FLOAT, shape)
    inputs = [dummy.name, node.input[1]] if op_type == "Gather" else [node.input[0], dummy.name]
    return [helper.make_node(op_type, inputs, node.output[:1])], dummy
