"""Reads the nodes and external data of an ONNX file without loading its weights.

An ONNX file is a protobuf message. This module walks its wire format (protobuf.dev/programming-guides/encoding) in a
memory map and skips unneeded fields. So even a file of many gigabytes needs little memory, and the server does not
depend on the `onnx` package. Field numbers are those of onnx.proto.
"""

import math
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import open_file

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DEPTH = 32
_MAX_RANK = 64
_MAX_FIELDS = 1_000_000
"""Reading that many takes 3 s. A decomposed decoder has up to 4,000 in a layer."""

_MAX_INTERFACE = 20_000
"""Old files list each weight as an input."""

_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_VALUE_NAME = 1
_PATH_TO_LAST_AXIS = (2, 1, 2, 1, 1)
"""From an input or output: its type, tensor type, shape, the last dimension, and its size."""
_ATTRIBUTE_TENSOR = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8

_MOVES_AXES = ("transA", "transBatchA", "transBatchB")
_BITS = ("bits", "expert_weight_bits")
_PAST_INPUTS = slice(3, 5)
"""The inputs of GroupQueryAttention that are caches."""

FieldValue: TypeAlias = int | tuple[int, int]
"""The integer of a field, or the span of its length-delimited or fixed-size value."""


class _TooLarge(ValueError):
    """A file has too many parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTensor:
    """The place of a tensor whose data is in another file."""

    location: str
    offset: int
    num_bytes: int | None
    """None: up to the end of that file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Type and shape of an initializer, or of the output of a Constant node."""

    data_type: int
    """A value of `TensorProto.DataType`."""
    num_elements: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInput:
    """An input of a node to which a value is bound."""

    op_type: str
    index: int
    bits: int | None
    """Width of packed integers, from an attribute of the node; None: it has no such attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of a graph, or of a graph inside it."""

    op_type: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    axis: int
    """The attribute `axis`, or else `gather_axis`; 0 by default."""
    moves_axes: bool
    """Whether an attribute of FusedMatMul moves the axes of batch and token."""


@dataclass(slots=True)
class OnnxFile:
    """The parts of a model file that the server needs."""

    nodes: list[Node] = field(default_factory=list[Node])
    """The nodes of all graphs, and of functions."""
    grows_when_loaded: bool = False
    """Whether it has functions, which become copies of their nodes, or sparse tensors, which become dense."""
    inputs: list[str] = field(default_factory=list[str])
    """Names of the inputs of the main graph that are not initializers."""
    optional_inputs: list[str] = field(default_factory=list[str])
    """Names of the inputs of the main graph that are initializers, too. Old files list each weight as an input."""
    outputs: list[str] = field(default_factory=list[str])
    """Names of the outputs of the main graph."""
    last_axes: dict[str, int] = field(default_factory=dict[str, int])
    """Maps the name of an input or output of the main graph to the size of its last axis, if that is fixed."""
    constants: dict[str, Constant] = field(default_factory=dict[str, Constant])
    """Maps the name of a value that the file holds to its type and size."""
    uses: dict[str, list[NodeInput]] = field(default_factory=dict[str, list[NodeInput]])
    """Maps the name of a value to the node inputs that it is bound to, in all graphs."""
    cache_windows: dict[str, int] = field(default_factory=dict[str, int])
    """Maps the name of a cache that only holds the last tokens of a sequence to how many its attention reads."""
    op_types: set[str] = field(default_factory=set[str])
    external_tensors: list[ExternalTensor] = field(default_factory=list[ExternalTensor])
    _num_fields: int = 0

    @classmethod
    def read(cls, path: Path) -> "OnnxFile":
        """Reads the file.

        Raises:
            ModelFolderError: The file is empty, truncated or not an ONNX model.
        """
        try:
            with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                view = memoryview(data)
                try:
                    return cls.parse(view)
                finally:
                    view.release()
        except _TooLarge as error:
            raise ModelFolderError(f"{path} {error}") from error
        except (ValueError, UnicodeDecodeError) as error:
            raise ModelFolderError(f"{path} is truncated or not an ONNX model: {error}") from error

    @classmethod
    def parse(cls, data: memoryview) -> "OnnxFile":
        """Reads the content of a file.

        Raises:
            ValueError: It is truncated or not an ONNX model.
        """
        onnx_file = cls()
        onnx_file._walk("model", data, 0, len(data), 0)
        if not onnx_file.op_types:
            raise ValueError("it has no nodes")
        names, constants = onnx_file.inputs, onnx_file.constants
        onnx_file.inputs = [name for name in names if name not in constants]
        onnx_file.optional_inputs = [name for name in names if name in constants]
        return onnx_file

    def readers(self, name: str) -> set[str]:
        """The types of the operators that read a value."""
        return {use.op_type for use in self.uses.get(name, ())}

    def _walk(self, kind: str, data: memoryview, start: int, end: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError(f"messages are nested more than {_MAX_DEPTH} levels deep")
        if kind == "node":
            self._node(data, start, end, depth)
            return
        if kind == "tensor":
            self._tensor(data, start, end)
            return
        is_main_graph = kind == "graph" and depth == 1
        interface = {_GRAPH_INPUT: self.inputs, _GRAPH_OUTPUT: self.outputs} if is_main_graph else {}
        for number, value in self._fields(data, start, end):
            if not isinstance(value, tuple):
                continue
            if (names := interface.get(number)) is not None:
                self._walk("value", data, *value, depth + 1)
                names.append(_text_of_field(data, value, _VALUE_NAME))
                if len(names) > _MAX_INTERFACE:
                    raise _TooLarge(f"has more than {_MAX_INTERFACE:,} inputs or outputs; no decoder needs so many")
                self.last_axes |= _last_axis(data, value)
            elif child := _CHILDREN[kind].get(number):
                self.grows_when_loaded |= child in _GROWING
                self._walk(child, data, *value, depth + 1)
                if child == "tensor" and kind == "graph":
                    self.constants[_text_of_field(data, value, _TENSOR_NAME)] = _constant(data, value)

    def _fields(self, data: memoryview, start: int, end: int) -> Iterator[tuple[int, FieldValue]]:
        """Like `fields`, but limits their number in a file."""
        for each in fields(data, start, end):
            self._num_fields += 1
            if self._num_fields > _MAX_FIELDS:
                raise _TooLarge(f"has more than {_MAX_FIELDS:,} fields, besides its weights; no decoder needs so many")
            yield each

    def _node(self, data: memoryview, start: int, end: int, depth: int) -> None:
        inputs: list[str] = []
        outputs: list[str] = []
        integers: dict[str, int] = {}
        constants: list[Constant] = []
        op_type = ""
        for number, value in self._fields(data, start, end):
            if not isinstance(value, tuple):
                continue
            if number == 1:
                inputs.append(_text(data, value))
            elif number == 2:
                outputs.append(_text(data, value))
            elif number == 4:
                op_type = _text(data, value)
            elif number == 5:
                self._walk("attribute", data, *value, depth + 1)
                integers |= _integer_attribute(data, value)
                constants += [
                    _constant(data, span)
                    for field, span in self._fields(data, *value)
                    if field == _ATTRIBUTE_TENSOR and isinstance(span, tuple)
                ]
        self.op_types.add(op_type)
        axis = integers.get("axis", 0) or integers.get("gather_axis", 0)
        moves_axes = any(integers.get(name) for name in _MOVES_AXES)
        self.nodes.append(Node(op_type=op_type, inputs=inputs, outputs=outputs, axis=axis, moves_axes=moves_axes))
        if op_type == "Constant":
            self.constants.update(zip(outputs, constants, strict=False))
        if integers.get("sliding_window_cache"):
            self.cache_windows |= dict.fromkeys(inputs[_PAST_INPUTS], integers.get("local_window_size", 0))
        bits = next((integers[name] for name in _BITS if name in integers), None)
        for index, name in enumerate(inputs):
            use = NodeInput(op_type=op_type, index=index, bits=bits)
            self.uses.setdefault(name, []).append(use)

    def _tensor(self, data: memoryview, start: int, end: int) -> None:
        entries: dict[str, str] = {}
        is_external = False
        for number, value in self._fields(data, start, end):
            if number == 13 and isinstance(value, tuple):
                pair = {key: _text(data, span) for key, span in self._fields(data, *value) if isinstance(span, tuple)}
                entries[pair.get(1, "")] = pair.get(2, "")
            elif number == 14:
                is_external = value == 1
        if is_external or entries:
            length = entries.get("length")
            self.external_tensors.append(
                ExternalTensor(
                    location=entries.get("location", ""),
                    offset=int(entries.get("offset", "0")),
                    num_bytes=None if length is None else int(length),
                )
            )


_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {},
}
"""The fields to descend into: for each kind of message, maps a field number to the kind of message in that field."""


_GROWING = frozenset({"function", "sparse"})


def fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, FieldValue]]:
    """Each field number of a message with its value.

    Raises:
        ValueError: The message is truncated or not protobuf.
    """
    position = start
    while position < end:
        number, value, position = read_field(data, position, end)
        yield number, value


def read_field(data: memoryview, position: int, end: int) -> tuple[int, FieldValue, int]:
    """The number and the value of the field at a position, and the position after it.

    Raises:
        ValueError: The field is truncated or not protobuf.
    """
    key, position = _varint(data, position, end)
    number, wire_type = key >> 3, key & 7
    if wire_type == _VARINT:
        value, position = _varint(data, position, end)
        return number, value, position
    if wire_type == _BYTES:
        size, position = _varint(data, position, end)
    elif wire_type in (_FIXED32, _FIXED64):
        size = 4 if wire_type == _FIXED32 else 8
    else:
        raise ValueError(f"unknown wire type {wire_type} at byte {position}")
    if position + size > end:
        raise ValueError(f"the value at byte {position} needs {size} bytes, but {end - position} are left")
    return number, (position, position + size), position + size


def _varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if position >= end:
            raise ValueError(f"an integer is truncated at byte {position}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, position
    raise ValueError(f"the integer before byte {position} has more than {_MAX_VARINT_BYTES} bytes")


def _integer_attribute(data: memoryview, span: tuple[int, int]) -> dict[str, int]:
    """The integer of an attribute by the attribute's name; empty if its value is of another type."""
    found = list(fields(data, *span))
    names = [_text(data, value) for number, value in found if number == 1 and isinstance(value, tuple)]
    values = [value for number, value in found if number == 3 and isinstance(value, int)]
    return dict(zip(names, values, strict=False))


def _constant(data: memoryview, span: tuple[int, int]) -> Constant:
    data_type, sizes = 0, list[int]()
    for number, value in fields(data, *span):
        if number == _TENSOR_TYPE and isinstance(value, int):
            data_type = value
        elif number == _TENSOR_DIMS:
            sizes += [value] if isinstance(value, int) else list(islice(_varints(data, *value), _MAX_RANK + 1))
            if len(sizes) > _MAX_RANK:
                raise ValueError(f"a tensor has more than {_MAX_RANK} axes")
    return Constant(data_type=data_type, num_elements=math.prod(sizes), rank=len(sizes))


def _last_axis(data: memoryview, value: tuple[int, int]) -> dict[str, int]:
    """The name of a graph's input or output with the size of its last axis; empty if that is not fixed."""
    found: FieldValue | None = value
    for number in _PATH_TO_LAST_AXIS:
        found = _last_field(data, found, number) if isinstance(found, tuple) else None
    return {_text_of_field(data, value, _VALUE_NAME): found} if isinstance(found, int) else {}


def _last_field(data: memoryview, span: tuple[int, int], wanted: int) -> FieldValue | None:
    last: FieldValue | None = None
    for number, value in fields(data, *span):
        last = value if number == wanted else last
    return last


def _varints(data: memoryview, start: int, end: int) -> Iterator[int]:
    """The integers of a packed field."""
    while start < end:
        value, start = _varint(data, start, end)
        yield value


def _text_of_field(data: memoryview, span: tuple[int, int], wanted: int) -> str:
    found = [value for number, value in fields(data, *span) if number == wanted and isinstance(value, tuple)]
    return _text(data, found[-1]) if found else ""


def _text(data: memoryview, span: tuple[int, int]) -> str:
    return bytes(data[span[0] : span[1]]).decode()
