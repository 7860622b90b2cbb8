"""Collects the nodes, small constants and weights of an ONNX graph, and makes a model of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onward_server.export.graph.stored_weights import Part, StoredWeight

MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's fused operators."""

Attribute: TypeAlias = float | str | Sequence[int]
Place: TypeAlias = Callable[[Part], TensorProto]
"""Makes the initializer of a part of a weight, whose content is in the data file or in the graph."""

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
        self._weights: dict[str, StoredWeight] = {}
        self._views: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._properties: dict[str, str] = {}

    @property
    def weights(self) -> Sequence[StoredWeight]:
        """The weights, in the order in which they were added."""
        return list(self._weights.values())

    @property
    def input_names(self) -> Sequence[str]:
        """The names of the inputs that have no default."""
        return [value.name for value in self._inputs if value.name not in self._constants]

    @property
    def operators(self) -> frozenset[str]:
        """The types of all nodes."""
        return frozenset(node.op_type for node in self._nodes)

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declares a model input; a string names a symbolic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def overridable_integer(self, name: str, value: int) -> str:
        """Declares an input, a vector of one int64, that may be left out of a run, which then uses `value`."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, [1]))
        return self.constant(name, np.array([value], np.int64))

    def set_property(self, key: str, value: str) -> None:
        """Sets a property of the model, which tools and servers can read."""
        self._properties[key] = value

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declares a model output; a node must have an output of that name."""
        self._outputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Stores a small constant, unless one of that name is already stored."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """Stores a vector of int64, the type of shapes and axes."""
        return self.constant("integers." + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, weight: StoredWeight) -> tuple[str, ...]:
        """Adds a weight, unless one with the same first part exists, and returns the names of its parts."""
        names = tuple(part.name for part in weight.parts)
        self._weights.setdefault(names[0], weight)
        return names

    def view(self, part: str, shape: tuple[int, ...]) -> str:
        """Adds another initializer with the content of a part of a weight, in another shape."""
        name = f"{part}.view"
        self._views[name] = (part, shape)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Attribute) -> str:
        """Adds a node with one output; an empty input name leaves that input out."""
        self.nodes(kind, inputs, [output], domain=domain, **attributes)
        return output

    def node_once(self, kind: str, inputs: Sequence[str], output: str) -> str:
        """Adds a node, unless one with that output exists."""
        if all(output not in node.output for node in self._nodes):
            self.node(kind, inputs, output)
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

    def model(self, name: str, place: Place, properties: Mapping[str, str] | None = None) -> ModelProto:
        """Makes the model, with its own properties and more of them."""
        initializers = [*self._constants.values()]
        parts = {part.name: place(part) for weight in self._weights.values() for part in weight.parts}
        initializers += parts.values()
        for view, (part, shape) in self._views.items():
            tensor = TensorProto()
            tensor.CopyFrom(parts[part])
            tensor.name = view
            tensor.dims[:] = shape
            initializers.append(tensor)
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="onward")
        helper.set_model_props(model, {**self._properties, **(properties or {})})
        return model
