"""A tensor in a file, read a range of rows at a time with plain file reads: a mapped file would count as memory."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.tensors import Floats, Tensor, read_floats
from onward_server.model.source.access import open_file

_Bytes = NDArray[np.uint8]


def _from_bfloat16(data: _Bytes) -> Floats:
    return (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def _from_floats(dtype: str) -> Callable[[_Bytes], Floats]:
    def convert(data: _Bytes) -> Floats:
        with np.errstate(over="ignore"):  # reported with the other values that are not finite
            return data.view(dtype).astype(np.float32, copy=False)

    return convert


_CONVERSIONS: Mapping[str, Callable[[_Bytes], Floats]] = {
    "F64": _from_floats("<f8"),
    "F32": _from_floats("<f4"),
    "F16": _from_floats("<f2"),
    "BF16": _from_bfloat16,
}


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
        if self.dtype not in _CONVERSIONS:
            raise ExportError(
                f"{self.file}: {self.name} has type {self.dtype}; only {', '.join(sorted(_CONVERSIONS))} can be "
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
            file.seek(self.offset + start * row_bytes)
            if file.readinto(data) != len(data):
                raise ExportError(f"{self.file} was truncated while {self.name} was read; restore it and export again")
        values = _CONVERSIONS[self.dtype](np.frombuffer(data, np.uint8))
        if not np.isfinite(values).all():
            raise ExportError(
                f"{self.file}: {self.name} has values that are not finite, with which no model works; download "
                "or train the checkpoint again"
            )
        return values.reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True, slots=True)
class Transposed:
    """A matrix that is stored as [in, out]. Each read goes through the whole matrix, a few stored rows at a time."""

    base: StoredTensor

    _READ_FLOATS = 1 << 22

    @property
    def shape(self) -> tuple[int, ...]:
        """[out, in]."""
        return self.base.shape[::-1]

    @property
    def layout(self) -> None:
        """Its rows are floats."""

    def read(self, start: int, stop: int) -> Floats:
        """See `Tensor.read`."""
        columns, stored_columns = self.base.shape
        rows = np.empty((stop - start, columns), np.float32)
        step = max(1, self._READ_FLOATS // max(1, stored_columns))
        for first in range(0, columns, step):
            last = min(first + step, columns)
            rows[:, first:last] = self.base.read(first, last)[:, start:stop].T
        return rows


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


def num_values(shape: tuple[int, ...]) -> int:
    """The number of values of a shape."""
    return math.prod(shape)
