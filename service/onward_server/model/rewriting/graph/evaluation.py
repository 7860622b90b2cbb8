"""Computes values of a graph with numpy."""

from collections.abc import Mapping
from typing import cast

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onward_server.model.rewriting.graph.tensor_types import Array, Node


class NotEvaluable(Exception):
    """A value depends on an input that was not given, or on an operator that cannot be evaluated."""


def evaluate_nodes(model: ModelProto, nodes: list[Node], wanted: list[str], given: Mapping[str, Array]) -> list[Array]:
    """Runs some nodes of a model, in order, on given values.

    Raises:
        NotEvaluable: An operator is not one of ONNX, or the evaluation failed.
    """
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in given.items()
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in wanted]
    part = helper.make_graph(nodes, "part", inputs, outputs)
    try:
        with np.errstate(all="ignore"):
            return _run(
                helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version), wanted, given
            )
    except Exception as error:  # the evaluator raises whatever numpy does
        raise NotEvaluable(f"{', '.join(wanted)}: {error}") from error


def value_of_constant(node: Node) -> Array:
    """The value of a Constant node."""
    return _run(node, list(node.output), {})[0]


def names_read(node: Node) -> list[str]:
    """Names that a node reads, including those that its subgraphs take from outside."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            inside = {name for each in attribute.g.node for name in each.output}
            inside |= {tensor.name for tensor in attribute.g.initializer} | {value.name for value in attribute.g.input}
            reads = [name for each in attribute.g.node for name in names_read(each)]
            reads += [value.name for value in attribute.g.output]
            names += [name for name in reads if name not in inside]
    return names


def _run(part: ModelProto | Node, names: list[str], inputs: Mapping[str, Array]) -> list[Array]:
    evaluator = ReferenceEvaluator(part)
    values = evaluator.run(names, dict(inputs))  # pyright: ignore[reportUnknownMemberType]
    return cast("list[Array]", values)
