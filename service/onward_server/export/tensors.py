"""The tensors of a checkpoint, read a range of rows at a time, so that memory does not depend on their size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLayout:
    """How a matrix is stored as blocks of integers along its rows."""

    bits: int
    """4 or 8."""
    block_size: int
    """Number of weights that share a scale."""
    has_offsets: bool = False

    @property
    def center(self) -> int:
        """The code of a weight that equals its block's offset: the zero point that MatMulNBits assumes."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Rows [N, K] in blocks along K: a weight is (code - center) * scale + offset."""

    layout: BlockLayout
    codes: NDArray[np.uint8]
    """[N, K], one code of 0 to 2 ** bits - 1 in each byte."""
    scales: Floats
    """[N, ceil(K / block size)]."""
    offsets: Floats | None
    """[N, ceil(K / block size)]; None if the layout has no offsets."""

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "Blocks":
        """The selected rows."""
        offsets = None if self.offsets is None else self.offsets[rows]
        return Blocks(layout=self.layout, codes=self.codes[rows], scales=self.scales[rows], offsets=offsets)

    def scaled(self, factor: float) -> "Blocks":
        """Every weight multiplied by a factor."""
        offsets = None if self.offsets is None else self.offsets * np.float32(factor)
        return Blocks(layout=self.layout, codes=self.codes, scales=self.scales * np.float32(factor), offsets=offsets)

    def dequantized(self) -> Floats:
        """The weights, [N, K]."""
        columns = self.codes.shape[1]
        centered = self.codes.astype(np.float32) - np.float32(self.layout.center)
        weights = centered * self._of_each_weight(self.scales, columns)
        return weights if self.offsets is None else weights + self._of_each_weight(self.offsets, columns)

    def _of_each_weight(self, of_blocks: Floats, columns: int) -> Floats:
        return np.repeat(of_blocks, self.layout.block_size, axis=1)[:, :columns]


Rows: TypeAlias = Floats | Blocks


class Tensor(Protocol):
    """A tensor whose content is read on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def layout(self) -> BlockLayout | None:
        """None: its rows are floats."""
        ...

    def read(self, start: int, stop: int) -> Rows:
        """Reads indices `start` to `stop` of the first axis: blocks if the tensor has a layout, otherwise floats."""
        ...


def read_floats(tensor: Tensor, start: int = 0, stop: int | None = None) -> Floats:
    """Reads a range of the first axis, all of it by default, as floats."""
    rows = tensor.read(start, tensor.shape[0] if stop is None else stop)
    return rows.dequantized() if isinstance(rows, Blocks) else rows


@dataclass(frozen=True, slots=True)
class ArrayTensor:
    """An array in memory."""

    array: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    @property
    def layout(self) -> None:
        """Floats."""

    def read(self, start: int, stop: int) -> Floats:
        """See `Tensor.read`."""
        return self.array[start:stop]


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows `start` to `stop` of another tensor, such as the keys of a fused projection."""

    whole: Tensor
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with fewer rows."""
        return (self.stop - self.start, *self.whole.shape[1:])

    @property
    def layout(self) -> BlockLayout | None:
        """That of the whole."""
        return self.whole.layout

    def read(self, start: int, stop: int) -> Rows:
        """See `Tensor.read`."""
        return self.whole.read(self.start + start, self.start + stop)


@dataclass(frozen=True, slots=True)
class ReorderedRows:
    """The rows of another tensor in another order."""

    base: Tensor
    order: NDArray[np.int64]
    """The index in `base` of each row. Every row of `base` between the first and last wanted ones is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The same shape."""
        return self.base.shape

    @property
    def layout(self) -> BlockLayout | None:
        """The same layout."""
        return self.base.layout

    def read(self, start: int, stop: int) -> Rows:
        """See `Tensor.read`."""
        wanted = self.order[start:stop]
        first = int(wanted.min())
        return self.base.read(first, int(wanted.max()) + 1)[wanted - first]


@dataclass(frozen=True, slots=True)
class Scaled:
    """Another tensor multiplied by a factor."""

    base: Tensor
    factor: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The same shape."""
        return self.base.shape

    @property
    def layout(self) -> BlockLayout | None:
        """The same layout."""
        return self.base.layout

    def read(self, start: int, stop: int) -> Rows:
        """See `Tensor.read`."""
        rows = self.base.read(start, stop)
        return rows.scaled(self.factor) if isinstance(rows, Blocks) else rows * np.float32(self.factor)


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Tensors of one layout, one below the other."""

    parts: Sequence[Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with the rows of all parts."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def layout(self) -> BlockLayout | None:
        """That of the parts."""
        return self.parts[0].layout

    def read(self, start: int, stop: int) -> Rows:
        """See `Tensor.read`."""
        found: list[Rows] = []
        first = 0
        for part in self.parts:
            low, high = max(start - first, 0), min(stop - first, part.shape[0])
            if low < high:
                found.append(part.read(low, high))
            first += part.shape[0]
        return _joined(found)


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    blocks = [part for part in parts if isinstance(part, Blocks)]
    if not blocks:
        return np.concatenate([part for part in parts if not isinstance(part, Blocks)])
    offsets = [part.offsets for part in blocks if part.offsets is not None]
    return Blocks(
        layout=blocks[0].layout,
        codes=np.concatenate([part.codes for part in blocks]),
        scales=np.concatenate([part.scales for part in blocks]),
        offsets=np.concatenate(offsets) if offsets else None,
    )
