"""Writes the graph of an ONNX file without its weights, which stay where they are and become external data.

ONNX Runtime maps external data into memory, but copies weights that are embedded in the graph. It accepts any offset,
so the data of a tensor may lie inside the ONNX file itself.
"""

import mmap
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import open_file
from onward_server.model.source.onnx_file import FieldValue, fields, read_field

_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_EXTERNAL = 1  # a value of `TensorProto.DataLocation`
_MIN_BYTES = 4096
"""Smaller tensors stay in the graph: a mapping takes a page at least, and rewriting may need their values."""


class _TensorField(IntEnum):
    """Field numbers of `TensorProto`."""

    RAW_DATA = 9
    EXTERNAL_DATA = 13
    DATA_LOCATION = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInPlace:
    """An ONNX model whose weights are external data."""

    model: bytes
    """The serialized `ModelProto`."""
    folder: Path
    """Folder to which the locations of external data are relative."""
    num_embedded_bytes: int
    """Bytes of the weights that lie inside the ONNX file."""
    num_external: int
    """Initializers that are external data in the file itself."""

    @classmethod
    def read(cls, path: Path, locations: Collection[str]) -> "GraphInPlace":
        """Reads the graph of an ONNX file.

        Links are resolved, because ONNX Runtime rejects those that leave the folder, as in the cache of Hugging Face.
        The tensors of subgraphs and attributes stay as they are.

        Args:
            path: The ONNX file, which `OnnxFile` has checked.
            locations: The locations of its external data, whose files `ModelFolder` has checked.

        Raises:
            ModelFolderError: The file has changed since it was checked.
        """
        files = {location: (path.parent / location).resolve() for location in locations}
        file = path.resolve()
        folder = Path(os.path.commonpath([file.parent, *(each.parent for each in files.values())]))
        writer = _Writer(
            location=file.relative_to(folder).as_posix(),
            moved={location: target.relative_to(folder).as_posix() for location, target in files.items()},
        )
        try:
            with open_file(file) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                view = memoryview(data)
                try:
                    model = b"".join(writer.model(view))
                finally:
                    view.release()
        except (ValueError, KeyError) as error:
            raise ModelFolderError(f"{path} has changed while it was read: {error}") from error
        return cls(
            model=model,
            folder=folder,
            num_embedded_bytes=writer.num_embedded_bytes,
            num_external=writer.num_external,
        )


class _Writer:
    """Copies a model, with references in place of the data of large initializers."""

    def __init__(self, *, location: str, moved: Mapping[str, str]) -> None:
        self.num_embedded_bytes = 0
        self.num_external = 0
        self._location = location
        self._moved = moved

    def model(self, data: memoryview) -> Iterator[bytes]:
        """The fields of the `ModelProto`."""
        for number, value, field in _fields(data, 0, len(data)):
            if number == _MODEL_GRAPH and isinstance(value, tuple):
                yield _message(number, b"".join(self._graph(data, *value)))
            else:
                yield bytes(data[slice(*field)])

    def _graph(self, data: memoryview, start: int, end: int) -> Iterator[bytes]:
        for number, value, field in _fields(data, start, end):
            if number == _GRAPH_INITIALIZER and isinstance(value, tuple):
                yield _message(number, b"".join(self._tensor(data, *value)))
            else:
                yield bytes(data[slice(*field)])

    def _tensor(self, data: memoryview, start: int, end: int) -> Iterator[bytes]:
        raw: tuple[int, int] | None = None
        entries: dict[str, str] = {}
        is_external = False
        for number, value, field in _fields(data, start, end):
            match number, value:
                case _TensorField.RAW_DATA, (first, last) if last - first >= _MIN_BYTES:
                    raw = (first, last)
                case _TensorField.EXTERNAL_DATA, (first, last):
                    key, entry = _entry(data, first, last)
                    entries[key] = entry
                case _TensorField.DATA_LOCATION, int():
                    is_external = value == _EXTERNAL
                case _:
                    yield bytes(data[slice(*field)])
        if is_external or entries:
            self.num_external += 1
            entries["location"] = self._moved[entries.get("location", "")]
        elif raw is not None:
            self.num_embedded_bytes += raw[1] - raw[0]
            entries = {"location": self._location, "offset": str(raw[0]), "length": str(raw[1] - raw[0])}
        if entries:
            yield _varint(_TensorField.DATA_LOCATION << 3) + _varint(_EXTERNAL)
            for pair in entries.items():
                yield _message(
                    _TensorField.EXTERNAL_DATA,
                    b"".join(_message(number, text.encode()) for number, text in enumerate(pair, start=1)),
                )


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, FieldValue, tuple[int, int]]]:
    """Each field number of a message with its value and the span of the whole field."""
    while start < end:
        number, value, after = read_field(data, start, end)
        yield number, value, (start, after)
        start = after


def _entry(data: memoryview, start: int, end: int) -> tuple[str, str]:
    """Key and value of a `StringStringEntryProto`."""
    texts = {
        number: bytes(data[slice(*span)]).decode()
        for number, span in fields(data, start, end)
        if isinstance(span, tuple)
    }
    return texts.get(1, ""), texts.get(2, "")


def _message(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
