"""Collects ONNX nodes and weights by name and makes a model of them."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's fused operators."""

Attribute: TypeAlias = float | str | Sequence[int]

OPSET = 21
IR_VERSION = 10


class Graph:
    """A graph under construction. Each method that adds a tensor returns the tensor's name."""

    def __init__(self) -> None:
        """Starts empty."""
        self._nodes: list[NodeProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._constants: dict[str, TensorProto] = {}

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declares a model input; a string names a symbolic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declares a model output; a node must have an output of that name."""
        self._outputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Stores a weight, unless a weight of that name is already stored."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """Stores a vector of int64, the type of shapes and axes."""
        return self.constant("integers." + "_".join(map(str, values)), np.array(values, np.int64))

    def node(self, kind: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Attribute) -> str:
        """Adds a node with one output; an empty input name leaves that input out."""
        self.nodes(kind, inputs, [output], domain=domain, **attributes)
        return output

    def nodes(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str = "",
        **attributes: Attribute,
    ) -> None:
        """Adds a node with several outputs; an empty output name leaves that output out."""
        node = helper.make_node(kind, inputs, outputs, name=next(filter(None, outputs)), domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._nodes.append(node)

    def model(self, name: str) -> ModelProto:
        """Makes the model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="onward")
