"""A tensor in a file, read a range of rows at a time with plain file reads: a mapped file would count as memory."""

from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from onward_server.errors import ExportError
from onward_server.export.blocks.floats import FLOATS
from onward_server.export.tensors import Floats, Tensor, read_floats
from onward_server.model.source.access import open_file


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor of a safetensors file."""

    file: Path
    name: str
    dtype: str
    """As the file names it, such as `BF16`."""
    shape: tuple[int, ...]
    offset: int
    """Position of its first byte in the file."""
    num_bytes: int

    @property
    def layout(self) -> None:
        """Its rows are floats."""

    def require_floats(self) -> None:
        """Checks that the values can be read as floats.

        Raises:
            ExportError: They are integers, or floats of another kind.
        """
        if self.dtype not in FLOATS:
            raise ExportError(
                f"{self.file}: {self.name} has type {self.dtype}; only {', '.join(sorted(FLOATS))} can be "
                "exported; use the checkpoint in floating point that this one was made from"
            )

    def read(self, start: int, stop: int) -> Floats:
        """See `Tensor.read`.

        Raises:
            ExportError: The file has become shorter since it was opened first, or a value is not finite in float32.
            ModelFolderError: The file cannot be read any more.
        """
        row_bytes = self.num_bytes // self.shape[0] if self.shape[0] else 0
        data = bytearray((stop - start) * row_bytes)
        with open_file(self.file) as file:
            self._read_into(file, memoryview(data), start * row_bytes)
        return self._floats(data).reshape(stop - start, *self.shape[1:])

    def read_columns(self, start: int, stop: int) -> Floats:
        """Reads columns of a matrix [rows, columns], with a file read for each row.

        Raises:
            ExportError: As `read` does.
            ModelFolderError: As `read` does.
        """
        rows, columns = self.shape
        value_bytes = self.num_bytes // (rows * columns)
        size = (stop - start) * value_bytes
        data = bytearray(rows * size)
        with open_file(self.file) as file:
            for row in range(rows):
                part = memoryview(data)[row * size : (row + 1) * size]
                self._read_into(file, part, (row * columns + start) * value_bytes)
        return self._floats(data).reshape(rows, stop - start)

    def _read_into(self, file: BufferedReader, part: memoryview, start: int) -> None:
        file.seek(self.offset + start)
        if file.readinto(part) != len(part):
            raise ExportError(f"{self.file} was truncated while {self.name} was read; restore it and export again")

    def _floats(self, data: bytearray) -> Floats:
        values = FLOATS[self.dtype](np.frombuffer(data, np.uint8))
        if not np.isfinite(values).all():
            raise ExportError(
                f"{self.file}: {self.name} has values that are not finite (infinite or NaN); download "
                "or train the checkpoint again"
            )
        return values


@dataclass(frozen=True, slots=True)
class Transposed:
    """A matrix that is stored as [in, out]."""

    base: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        """[out, in]."""
        return self.base.shape[::-1]

    @property
    def layout(self) -> None:
        """Its rows are floats."""

    def read(self, start: int, stop: int) -> Floats:
        """See `Tensor.read`."""
        return np.ascontiguousarray(self.base.read_columns(start, stop).T)


@dataclass(frozen=True, slots=True)
class Shifted:
    """A tensor plus a number."""

    base: Tensor
    summand: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The same shape."""
        return self.base.shape

    @property
    def layout(self) -> None:
        """Its rows are floats."""

    def read(self, start: int, stop: int) -> Floats:
        """See `Tensor.read`."""
        return read_floats(self.base, start, stop) + np.float32(self.summand)
