"""Reads values from the header of a GGUF file, up to a limit."""

from collections.abc import Mapping, Sequence
from io import BufferedReader
from typing import TypeAlias, cast

import numpy as np
from gguf import GGUFValueType
from numpy.typing import NDArray

from onward_server.errors import ExportError

Value: TypeAlias = bool | int | float | str | Sequence[str] | NDArray[np.generic]
"""Arrays of numbers are arrays of numpy, arrays of strings are lists."""

_MAX_BYTES = 64 << 20
"""Maximum size of a header. The vocabularies of the largest public models take a quarter of it."""

_FORMATS: Mapping[GGUFValueType, str] = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
}
_TYPES: Mapping[GGUFValueType, np.dtype[np.generic]] = {kind: np.dtype(name) for kind, name in _FORMATS.items()}


class HeaderReader:
    """Reads a file from its beginning. Nothing is allocated for what the file cannot hold."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        """Takes an open file and its size in bytes."""
        self._file = file
        self._size = size
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            ExportError: The file ends before, or its header is too large.
        """
        end = self.position + count
        if end > self._size:
            raise ExportError(
                f"the file is truncated: it has {self._size:,} bytes, but its header needs {end:,} or more; download "
                "or copy it again"
            )
        if end > _MAX_BYTES:
            raise ExportError(f"the header has {end:,} bytes or more; at most {_MAX_BYTES:,} are allowed")
        self.position = end
        data = self._file.read(count)
        if len(data) < count:
            raise ExportError("the file has become shorter while it was read; restore it and export again")
        return data

    def uint32(self) -> int:
        """An unsigned integer of 4 bytes."""
        return int.from_bytes(self.take(4), "little")

    def uint64(self) -> int:
        """An unsigned integer of 8 bytes."""
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """A string with its length before it.

        Raises:
            ExportError: It is not UTF-8.
        """
        data = self.take(self.uint64())
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ExportError(f"{data[:60]!r} is not UTF-8 text") from None

    def value(self) -> Value:
        """A value with its type before it.

        Raises:
            ExportError: The type is unknown, or an array of arrays.
        """
        kind = self._kind()
        match kind:
            case GGUFValueType.STRING:
                return self.text()
            case GGUFValueType.ARRAY:
                return self._array()
            case GGUFValueType.FLOAT32:
                # the shortest text of a float32 gives 1e-5, where a conversion would give 9.99999975e-6
                return float(str(self._numbers(kind, 1)[0]))
            case _:
                return cast(Value, self._numbers(kind, 1)[0].item())

    def _array(self) -> Value:
        kind = self._kind()
        count = self.uint64()
        match kind:
            case GGUFValueType.STRING:
                self._require(8 * count)
                return [self.text() for _ in range(count)]
            case GGUFValueType.ARRAY:
                raise ExportError("arrays of arrays are not supported")
            case _:
                return self._numbers(kind, count)

    def _kind(self) -> GGUFValueType:
        number = self.uint32()
        try:
            return GGUFValueType(number)
        except ValueError:
            raise ExportError(f"{number} is not a type of values") from None

    def _numbers(self, kind: GGUFValueType, count: int) -> NDArray[np.generic]:
        element_type = _TYPES[kind]
        return np.frombuffer(self.take(count * element_type.itemsize), element_type)

    def _require(self, count: int) -> None:
        """Rejects at once what the rest of the file cannot hold."""
        if self.position + count > self._size:
            self.take(count)
