"""A decoder graph that can be searched, evaluated in part, and changed."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onward_server.model.rewriting.graph.evaluation import (
    NotEvaluable,
    evaluate_nodes,
    names_read,
    value_of_constant,
)
from onward_server.model.rewriting.graph.tensor_types import (
    INT64,
    Array,
    Node,
    Sizes,
    TensorType,
    dtype_of,
    element_type_of,
    infer_outputs,
    infer_types,
    type_of,
)

CONTRIB = "com.microsoft"
"""Domain of the operators of ONNX Runtime."""
_MAX_CONSTANT_BYTES = 1 << 26
"""Largest external tensor whose values are read."""
_MAX_AXES = 16


class _Index:
    """The nodes by the values that they compute and read."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.producers: dict[str, Node] = {}
        self.consumers: dict[str, list[Node]] = {}
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        self.producers |= {name: node for name in node.output if name}
        for name in dict.fromkeys(names_read(node)):
            self.consumers.setdefault(name, []).append(node)

    def rename_output(self, old: str, new: str) -> None:
        node = self.producers[new] = self.producers.pop(old)
        node.output[:] = [new if name == old else name for name in node.output]

    def replace_uses(self, old: str, new: str) -> None:
        readers = self.consumers.pop(old, [])
        others = self.consumers.setdefault(new, [])
        known = {node.output[0] for node in others}
        for node in readers:
            node.input[:] = [new if name == old else name for name in node.input]
        self.consumers[old] = [node for node in readers if old in names_read(node)]  # in a subgraph
        others += [node for node in readers if new in node.input and node.output[0] not in known]


class Graph:
    """The main graph of an ONNX model.

    Weights may be external data. Their values are read only if a part of the graph that is evaluated needs them.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        """Takes ownership of a model.

        Args:
            model: The model, which is changed in place.
            folder: Where external data lies.
        """
        self._model = model
        self._graph = model.graph
        self._folder = folder
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._index = _Index(self._graph.node)
        self._types: dict[Sizes, dict[str, TensorType]] = {}

    @classmethod
    def parse(cls, model: bytes, folder: Path) -> "Graph":
        """Parses a serialized model, whose external data lies in a folder."""
        return cls(ModelProto.FromString(model), folder)

    def serialize(self) -> bytes:
        """The serialized model; external data stays where it is."""
        return self._model.SerializeToString()

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs that are not initializers, in order."""
        return [value.name for value in self._graph.input if value.name not in self._initializers]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [value.name for value in self._graph.output]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next((opset.version for opset in self._model.opset_import if opset.domain in ("", "ai.onnx")), 0)

    def nodes(self) -> list[Node]:
        """The nodes that some output needs, each after those whose outputs it reads."""
        return list(self._ordered(self.outputs))

    def producer(self, name: str) -> Node | None:
        """The node that computes a value; None for an input or an initializer."""
        return self._index.producers.get(name)

    def consumers(self, name: str) -> Sequence[Node]:
        """The nodes that read a value, each once."""
        return self._index.consumers.get(name, [])

    def constant(self, name: str) -> Array | None:
        """The value of an initializer or of a Constant node; None for other values, and for large weights."""
        if name in self._initializers:
            tensor = self._initializers[name]
            return self._read(tensor) if _num_bytes(tensor) <= _MAX_CONSTANT_BYTES else None
        node = self.producer(name)
        if node is None or node.op_type != "Constant":
            return None
        return value_of_constant(node)

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer or the output of a Constant node."""
        node = self.producer(name)
        return name in self._initializers or (node is not None and node.op_type == "Constant")

    def input_type(self, name: str) -> TensorType:
        """Type of an input, with None for axes that have a name instead of a length."""
        return type_of(next(value.type for value in self._graph.input if value.name == name))

    def output_type(self, name: str) -> TensorType:
        """Type of an output, with None for axes that have a name instead of a length."""
        return type_of(next(value.type for value in self._graph.output if value.name == name))

    def tensor_type(self, name: str, sizes: Sizes) -> TensorType | None:
        """Type of any value in a run of some lengths; None if it cannot be inferred."""
        if sizes not in self._types:
            self._infer_types(sizes)
        return self._types[sizes].get(name)

    def evaluate(self, names: Sequence[str], given: Mapping[str, Array], sizes: Sizes) -> list[Array]:
        """Computes values of the graph with numpy.

        Args:
            names: The values to compute.
            given: Values from which they are computed. What stands before them in the graph is not evaluated.
            sizes: Lengths of the run. The shape of a value that is not given is inferred from them.

        Raises:
            NotEvaluable: A value depends on an input that is not given, or on an operator of ONNX Runtime alone.
        """
        wanted = [name for name in dict.fromkeys(names) if name not in given]
        if not wanted:
            return [np.asarray(given[name]) for name in names]
        nodes, values = self._part(wanted, given, sizes)
        computed = dict(zip(wanted, evaluate_nodes(self._model, nodes, wanted, values), strict=True))
        return [np.asarray(computed.get(name, given.get(name))) for name in names]

    def add_node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str,
        **attributes: float | Sequence[int],
    ) -> None:
        """Adds a node anywhere; `prune` puts the nodes into order."""
        node = helper.make_node(op_type, inputs, outputs, name=outputs[0], domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        if domain and all(opset.domain != domain for opset in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(domain, 1))
        self._graph.node.append(node)
        self._index.add(self._graph.node[-1])
        self._types.clear()

    def compute(self, op_type: str, inputs: Sequence[str], output: str, **attributes: float | Sequence[int]) -> str:
        """Adds a node with one output; returns the name of the output."""
        self.add_node(op_type, inputs, [output], domain="", **attributes)
        return output

    def add_constant(self, name: str, value: Array) -> str:
        """Adds an initializer, unless there is one of that name; returns the name."""
        if name not in self._initializers:
            self._graph.initializer.append(numpy_helper.from_array(value, name))
            self._initializers[name] = self._graph.initializer[-1]
        return name

    def set_input(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        """Adds an input, or replaces the type of one."""
        value = next((value for value in self._graph.input if value.name == name), None) or self._graph.input.add()
        value.CopyFrom(helper.make_tensor_value_info(name, element_type, shape))
        self._types.clear()

    def set_output(self, name: str, element_type: int, shape: Sequence[int | str]) -> None:
        """Adds an output, or replaces the type of one."""
        value = next((value for value in self._graph.output if value.name == name), None) or self._graph.output.add()
        value.CopyFrom(helper.make_tensor_value_info(name, element_type, shape))
        self._types.clear()

    def replace_uses(self, old: str, new: str) -> None:
        """Lets the readers of a value read another one instead."""
        self._index.replace_uses(old, new)
        self._types.clear()

    def rename_output(self, old: str, new: str) -> None:
        """Renames a value where it is computed, and not where it is read."""
        self._index.rename_output(old, new)
        self._types.clear()

    def inline_branch(self, node: Node, name: str) -> None:
        """Replaces an If by one of its branches."""
        branch = next(attribute.g for attribute in node.attribute if attribute.name == name)
        nodes = [each for each in self._graph.node if each.output[0] != node.output[0]] + list(branch.node)
        for inner, outer in zip(branch.output, node.output, strict=True):
            if inner.name != outer:
                nodes.append(helper.make_node("Identity", [inner.name], [outer]))
        initializers = list(branch.initializer)
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(initializers)
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._index = _Index(self._graph.node)
        self._types.clear()

    def remove_input(self, name: str) -> None:
        """Removes an input that nothing reads."""
        self._graph.input.remove(next(value for value in self._graph.input if value.name == name))
        self._types.clear()

    def prune(self) -> None:
        """Removes what no output needs, and puts the nodes into an order in which they can run."""
        ordered = self.nodes()
        needed = {name for node in ordered for name in names_read(node)} | set(self.outputs)
        initializers = [tensor for tensor in self._graph.initializer if tensor.name in needed]
        infos = [value for value in self._graph.value_info if value.name in needed]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(ordered)
        self._graph.initializer.extend(initializers)
        self._graph.value_info.extend(infos)
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._index = _Index(self._graph.node)

    def _ordered(self, names: Iterable[str], is_given: Callable[[str], bool] = lambda _: False) -> Iterator[Node]:
        """The nodes that compute some values from given ones, each after those whose outputs it reads."""
        entered: set[str] = set()
        done: set[str] = set()
        stack = [(name, False) for name in names]
        while stack:
            name, is_visited = stack.pop()
            node = self.producer(name)
            if node is None or node.output[0] in done or is_given(name):
                continue
            if is_visited:
                done.add(node.output[0])
                yield node
            elif node.output[0] not in entered:  # else the graph has a cycle
                entered.add(node.output[0])
                stack.append((name, True))
                stack.extend((read, False) for read in names_read(node))

    def _part(
        self, wanted: Sequence[str], given: Mapping[str, Array], sizes: Sizes
    ) -> tuple[list[Node], dict[str, Array]]:
        """The nodes that compute some values, and the values that these nodes read."""
        shapes: dict[str, Array] = {}

        def is_given(name: str) -> bool:
            node = self.producer(name)
            if node is not None and node.op_type == "Shape" and node.input[0] not in given:
                shape = self._known_shape(node.input[0], sizes)
                if shape is not None:
                    ends = {attribute.name: attribute.i for attribute in node.attribute}
                    shapes[name] = shape[ends.get("start") : ends.get("end")]
            return name in given or name in shapes

        nodes = list(self._ordered(wanted, is_given))
        computed = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in names_read(node)} | set(wanted)
        values: dict[str, Array] = {}
        for name in sorted(read - computed):
            value = given.get(name, shapes.get(name))
            values[name] = self._stored(name) if value is None else value
        return nodes, values

    def _known_shape(self, name: str, sizes: Sizes) -> npt.NDArray[np.int64] | None:
        known = self.tensor_type(name, sizes)
        return np.array(known.shape, np.int64) if known is not None and _is_known(known) else None

    def _stored(self, name: str) -> Array:
        value = self.constant(name)
        if value is None:
            raise NotEvaluable(f"it depends on {name}")
        return value

    def _read(self, tensor: TensorProto) -> Array:
        if tensor.data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = dtype_of(tensor.data_type)
        return np.fromfile(
            self._folder / entries["location"], dtype, math.prod(tensor.dims), offset=int(entries.get("offset", "0"))
        ).reshape(tuple(tensor.dims))

    def _infer_types(self, sizes: Sizes) -> None:
        """Infers all types, with the help of values that onnx alone does not compute."""
        nodes = self.nodes()
        types = self._types[sizes] = infer_types(self._model, nodes, sizes)
        for node in nodes:
            if all(not name or _is_known(types.get(name)) for name in node.output):
                continue
            lengths = {name: value for name in node.input if (value := self._length(name, sizes)) is not None}
            types |= infer_outputs(self._model, node, types, lengths)
            if node.op_type == "Range" and (value := self._value_of_shapes(node.output[0], sizes)) is not None:
                types[node.output[0]] = TensorType(element_type_of(value.dtype), value.shape)

    def _length(self, name: str, sizes: Sizes) -> Array | None:
        """A short vector of integers that follows from shapes alone, as many operators have for the shape of others."""
        known = self._types[sizes].get(name)
        if known is None or known.element_type != INT64 or not _is_known(known):
            return None
        is_short = math.prod(length or 0 for length in known.shape or ()) <= _MAX_AXES
        return self._value_of_shapes(name, sizes) if is_short else None

    def _value_of_shapes(self, name: str, sizes: Sizes) -> Array | None:
        """A value that follows from shapes alone."""
        try:
            return self.evaluate([name], {}, sizes)[0]
        except NotEvaluable:
            return None


def _is_known(found: TensorType | None) -> bool:
    return found is not None and found.shape is not None and None not in found.shape


def _num_bytes(tensor: TensorProto) -> int:
    return math.prod(tensor.dims) * dtype_of(tensor.data_type).itemsize
