"""Converts weights to the bytes that the data file holds, a range of rows at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onward_server.export.tensors import BlockLayout, Blocks, Tensor, read_floats

_CHUNK_WEIGHTS = 4 << 20
"""Number of weights that are read at a time: 16 MiB of floats. A single row may have more."""

FloatType: TypeAlias = type[np.float32] | type[np.float16]
AnyArray: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An initializer of the graph."""

    name: str
    element_type: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size of its content."""
        return math.prod(self.shape) * self.element_type.itemsize


class StoredWeight(Protocol):
    """A weight in the form in which it is stored: one initializer or several."""

    @property
    def parts(self) -> tuple[Part, ...]: ...

    def chunks(self) -> Iterator[tuple[AnyArray, ...]]:
        """The contents of all parts from beginning to end: in each chunk, an array for each part."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatWeight:
    """A weight as floats. Values outside the range of float16 become its largest or lowest value."""

    name: str
    tensor: Tensor
    element_type: FloatType

    @property
    def parts(self) -> tuple[Part, ...]:
        """The weight alone."""
        return (Part(name=self.name, element_type=np.dtype(self.element_type), shape=self.tensor.shape),)

    def chunks(self) -> Iterator[tuple[AnyArray, ...]]:
        """See `StoredWeight.chunks`."""
        for start, stop in _ranges(self.tensor):
            yield (as_floats(read_floats(self.tensor, start, stop), self.element_type),)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeight:
    """A matrix [N, K] as blocks of integers, in the format of MatMulNBits.

    The parts are the codes [N, blocks, bytes of a block], where of two 4-bit codes in a byte the low half is the first,
    the scales [N, blocks] and, if the layout has them, the offsets [N, blocks]. The last block of a row is filled up.
    """

    name: str
    tensor: Tensor
    layout: BlockLayout
    float_type: FloatType

    @property
    def parts(self) -> tuple[Part, ...]:
        """Codes, scales and offsets."""
        rows, columns = self.tensor.shape
        num_blocks = -(-columns // self.layout.block_size)
        codes = (rows, num_blocks, self.layout.block_size * self.layout.bits // 8)
        floats = ("scales", "offsets") if self.layout.has_offsets else ("scales",)
        return (
            Part(name=f"{self.name}.codes", element_type=np.dtype(np.uint8), shape=codes),
            *(
                Part(name=f"{self.name}.{kind}", element_type=np.dtype(self.float_type), shape=(rows, num_blocks))
                for kind in floats
            ),
        )

    def chunks(self) -> Iterator[tuple[AnyArray, ...]]:
        """See `StoredWeight.chunks`."""
        for start, stop in _ranges(self.tensor):
            rows = self.tensor.read(start, stop)
            assert isinstance(rows, Blocks)
            floats = [rows.scales] if rows.offsets is None else [rows.scales, rows.offsets]
            yield (self._packed(rows.codes), *(as_floats(values, self.float_type) for values in floats))

    def _packed(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        missing = -codes.shape[1] % self.layout.block_size
        if missing:
            codes = np.pad(codes, ((0, 0), (0, missing)), constant_values=self.layout.center)
        return codes if self.layout.bits == 8 else codes[:, 0::2] + np.uint8(16) * codes[:, 1::2]


def as_floats(values: NDArray[np.float32], element_type: FloatType) -> NDArray[np.float32] | NDArray[np.float16]:
    """The values in a float type; those outside its range become its largest or lowest value."""
    if element_type is np.float32:
        return np.ascontiguousarray(values, np.float32)
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)


def _ranges(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """Ranges of rows that cover the tensor."""
    num_rows = tensor.shape[0]
    step = max(1, _CHUNK_WEIGHTS // math.prod(tensor.shape[1:]))
    for start in range(0, num_rows, step):
        yield start, min(start + step, num_rows)
