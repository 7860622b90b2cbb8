"""The only importer of onnx: a decoder graph that can be searched, evaluated in part, and changed.

Weights may be external data. Their values are read only if a part of the graph that is evaluated needs them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_shapes

Array = npt.NDArray[np.generic]
Node = NodeProto
Shape = tuple[int | None, ...]

CONTRIB = "com.microsoft"
"""Domain of the operators of ONNX Runtime."""
INT32, INT64 = int(TensorProto.INT32), int(TensorProto.INT64)
_MAX_CONSTANT_BYTES = 1 << 26
"""Largest external tensor whose values are read."""


class NotEvaluable(Exception):
    """A value depends on an input that was not given, or on an operator that cannot be evaluated."""


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


@dataclass(frozen=True, slots=True)
class _Index:
    """The nodes by the values that they compute and read."""

    producers: dict[str, Node]
    consumers: dict[str, list[Node]]

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> "_Index":
        index = cls({name: node for node in nodes for name in node.output if name}, {})
        for node in nodes:
            for name in dict.fromkeys(_reads(node)):
                index.consumers.setdefault(name, []).append(node)
        return index


class Graph:
    """The main graph of an ONNX model."""

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
        self._index: _Index | None = None
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
        return self._indexed().producers.get(name)

    def consumers(self, name: str) -> Sequence[Node]:
        """The nodes that read a value, each once."""
        return self._indexed().consumers.get(name, [])

    def constant(self, name: str) -> Array | None:
        """The value of an initializer or of a Constant node; None for other values, and for large weights."""
        if name in self._initializers:
            tensor = self._initializers[name]
            return self._read(tensor) if _num_bytes(tensor) <= _MAX_CONSTANT_BYTES else None
        node = self.producer(name)
        if node is None or node.op_type != "Constant":
            return None
        return _run(node, [node.output[0]], {})[0]

    def is_initializer(self, name: str) -> bool:
        """Whether a value is stored in the model."""
        return name in self._initializers

    def input_type(self, name: str) -> TensorType:
        """Type of an input, with None for axes that have a name instead of a length."""
        return _type_of(next(value for value in self._graph.input if value.name == name))

    def output_type(self, name: str) -> TensorType:
        """Type of an output, with None for axes that have a name instead of a length."""
        return _type_of(next(value for value in self._graph.output if value.name == name))

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
        part = self._part(wanted, given, sizes)
        try:
            with np.errstate(all="ignore"):
                values = _run(part, wanted, {value.name: given[value.name] for value in part.graph.input})
        except Exception as error:  # the evaluator raises whatever numpy does
            raise NotEvaluable(f"{', '.join(wanted)}: {error}") from error
        computed = dict(zip(wanted, values, strict=True))
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
        self._changed()

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

    def replace_uses(self, old: str, new: str, *, but: Iterable[Node] = ()) -> None:
        """Lets the readers of a value read another one instead, except some of them."""
        kept = {node.output[0] for node in but}
        for node in self.consumers(old):
            if node.output[0] not in kept:
                node.input[:] = [new if name == old else name for name in node.input]
        self._changed()

    def rename_output(self, old: str, new: str) -> None:
        """Renames a value where it is computed, and not where it is read."""
        node = self._indexed().producers[old]
        node.output[:] = [new if name == old else name for name in node.output]
        self._changed()

    def prune(self) -> None:
        """Removes what no output needs, and puts the nodes into an order in which they can run."""
        ordered = self.nodes()
        needed = {name for node in ordered for name in _reads(node)} | set(self.outputs)
        initializers = [tensor for tensor in self._graph.initializer if tensor.name in needed]
        infos = [value for value in self._graph.value_info if value.name in needed]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(ordered)
        self._graph.initializer.extend(initializers)
        self._graph.value_info.extend(infos)
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._changed()

    def _changed(self) -> None:
        self._index = None
        self._types.clear()

    def _indexed(self) -> "_Index":
        if self._index is None:
            self._index = _Index.of(self._graph.node)
        return self._index

    def _ordered(self, names: Iterable[str], is_given: Callable[[str], bool] = lambda _: False) -> Iterator[Node]:
        """The nodes that compute some values from given ones, each after those whose outputs it reads."""
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
            else:
                stack.append((name, True))
                stack.extend((read, False) for read in _reads(node))

    def _part(self, wanted: Sequence[str], given: Mapping[str, Array], sizes: Sizes) -> ModelProto:
        """A model that computes some values from given ones."""
        shapes: dict[str, Array] = {}

        def is_given(name: str) -> bool:
            node = self.producer(name)
            if node is not None and node.op_type == "Shape" and not node.attribute and node.input[0] not in given:
                shape = self._known_shape(node.input[0], sizes)
                if shape is not None:
                    shapes[name] = shape
            return name in given or name in shapes

        nodes = list(self._ordered(wanted, is_given))
        computed = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in _reads(node)} | set(wanted)
        constants = [
            numpy_helper.from_array(shapes[name] if name in shapes else self._stored(name), name)
            for name in sorted(read - computed - given.keys())
        ]
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(given[name].dtype), None)
            for name in sorted(read & given.keys())
        ]
        outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in wanted]
        part = helper.make_graph(nodes, "part", inputs, outputs, constants)
        return helper.make_model(part, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)

    def _known_shape(self, name: str, sizes: Sizes) -> npt.NDArray[np.int64] | None:
        known = self.tensor_type(name, sizes)
        if known is None or known.shape is None or None in known.shape:
            return None
        return np.array(known.shape, np.int64)

    def _stored(self, name: str) -> Array:
        value = self.constant(name)
        if value is None:
            raise NotEvaluable(f"it depends on {name}")
        return value

    def _read(self, tensor: TensorProto) -> Array:
        if tensor.data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.fromfile(
            self._folder / entries["location"], dtype, math.prod(tensor.dims), offset=int(entries.get("offset", "0"))
        ).reshape(tuple(tensor.dims))

    def _infer_types(self, sizes: Sizes) -> None:
        """Infers all types, with the help of values that decide shapes and that the inference of onnx leaves open."""
        known: dict[str, Array] = {}
        while True:
            self._types[sizes] = self._inferred(sizes, known)
            found = {
                name: value
                for name in self._open_lengths(sizes)
                if name not in known and (value := self._value_of_shapes(name, sizes)) is not None
            }
            if not found:
                return
            known |= found

    def _open_lengths(self, sizes: Sizes) -> list[str]:
        """Computed values that decide the shapes that are not known."""
        names: list[str] = []
        for node in self._graph.node:
            if node.op_type in _LENGTHS and self._known_shape(node.output[0], sizes) is None:
                names += [name for name in _LENGTHS[node.op_type](node) if self.producer(name) is not None]
        return names

    def _value_of_shapes(self, name: str, sizes: Sizes) -> Array | None:
        """A value that follows from shapes alone."""
        try:
            return self.evaluate([name], {}, sizes)[0]
        except NotEvaluable:
            return None

    def _inferred(self, sizes: Sizes, known: Mapping[str, Array]) -> dict[str, TensorType]:
        model = ModelProto()
        model.CopyFrom(self._model)
        for value in (*model.graph.input, *model.graph.output):
            _set_lengths(value, sizes)
        stand_ins = [self._stand_in(node) for node in model.graph.node if node.output[0] not in known]
        del model.graph.node[:], model.graph.value_info[:]
        model.graph.node.extend(node for nodes, _ in stand_ins for node in nodes)
        model.graph.input.extend(value for _, value in stand_ins if value is not None)
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in known.items())
        inferred = infer_shapes(model, data_prop=True).graph
        types = {value.name: _type_of(value) for value in (*inferred.value_info, *inferred.input, *inferred.output)}
        return types | {
            tensor.name: TensorType(tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer
        }

    def _stand_in(self, node: Node) -> tuple[list[Node], ValueInfoProto | None]:
        """Nodes of ONNX whose outputs have the shapes of those of an operator of ONNX Runtime, and their new input."""
        attributes = {attribute.name: attribute.i for attribute in node.attribute if attribute.type == attribute.INT}
        weight = self._initializers.get(node.input[1]) if len(node.input) > 1 else None
        shape: tuple[int, ...]
        match node.op_type:
            case "MatMulNBits" | "MatMulBnb4":
                op_type, shape = "MatMul", (attributes["K"], attributes["N"])
            case "GatherBlockQuantized":
                scales = self._initializers[node.input[2]].dims
                op_type, shape = "Gather", (scales[0], scales[-1] * attributes.get("block_size", 128))
            case "FusedMatMul" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" if weight is not None:
                op_type, shape = "MatMul", tuple(weight.dims)
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


_LENGTHS: Mapping[str, Callable[[Node], Sequence[str]]] = {
    "ConstantOfShape": lambda node: node.input,
    "Expand": lambda node: node.input[1:],
    "Range": lambda node: node.output,
    "Reshape": lambda node: node.input[1:],
    "Slice": lambda node: node.input[1:],
    "Tile": lambda node: node.input[1:],
}
"""Operators whose shapes follow from values, with these values."""

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


def element_type_of(dtype: np.dtype[np.generic]) -> int:
    """The number that ONNX gives an element type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def dtype_of(element_type: int) -> np.dtype[np.generic]:
    """The element type with a number of ONNX."""
    return helper.tensor_dtype_to_np_dtype(element_type)


def _run(part: ModelProto | Node, names: list[str], inputs: Mapping[str, Array]) -> list[Array]:
    evaluator = ReferenceEvaluator(part)
    values = evaluator.run(names, dict(inputs))  # pyright: ignore[reportUnknownMemberType]
    return cast("list[Array]", values)


def _reads(node: Node) -> list[str]:
    """Names that a node reads, those that its subgraphs take from outside among them."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            inside = {name for each in attribute.g.node for name in each.output}
            inside |= {tensor.name for tensor in attribute.g.initializer} | {value.name for value in attribute.g.input}
            reads = [name for each in attribute.g.node for name in _reads(each)]
            reads += [value.name for value in attribute.g.output]
            names += [name for name in reads if name not in inside]
    return names


def _type_of(value: ValueInfoProto) -> TensorType:
    tensor = value.type.tensor_type
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


def _num_bytes(tensor: TensorProto) -> int:
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
