"""Converts stored blocks of weights to `Blocks` without loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onward_server.export.tensors import BlockLayout, Blocks, Floats

Bytes: TypeAlias = NDArray[np.uint8]

Unpacked: TypeAlias = tuple[NDArray[np.int8], Floats, Floats | None]
"""Signed codes [blocks, weights]; scales, and offsets if the layout has them, both [blocks, scales in a block]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCodec:
    """A type of stored blocks."""

    layout: BlockLayout
    """What the blocks become. A stored block may hold several of its blocks."""
    num_weights: int
    """Weights in a stored block."""
    num_bytes: int
    """Bytes of a stored block."""
    unpack: Callable[[Bytes], Unpacked]
    """Takes stored blocks [blocks, bytes]. A weight is code * scale + offset."""

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of so many weights, a multiple of `num_weights`."""
        return columns // self.num_weights * self.num_bytes

    def decode(self, rows: Bytes) -> Blocks:
        """Decodes rows [N, bytes of a row]."""
        num_rows, row_bytes = rows.shape
        columns = row_bytes // self.num_bytes * self.num_weights
        codes, scales, offsets = self.unpack(rows.reshape(-1, self.num_bytes))
        return Blocks(
            layout=self.layout,
            codes=(codes.view(np.uint8) + np.uint8(self.layout.center)).reshape(num_rows, columns),
            scales=scales.reshape(num_rows, -1),
            offsets=None if offsets is None else offsets.reshape(num_rows, -1),
        )


def signed(codes: Bytes, bits: int) -> NDArray[np.int8]:
    """Codes of 0 to 2 ** bits - 1, minus half their range."""
    return (codes - np.uint8(1 << (bits - 1))).view(np.int8)


def centered(codes: Bytes, bits: int, scales: Floats, minima: Floats) -> Unpacked:
    """Blocks in which a weight is code * scale + minimum, as signed codes.

    Products of small codes with rounded activations have smaller errors. Only the offsets are rounded, to float32.
    """
    offsets = minima + scales * np.float32(1 << (bits - 1))
    return signed(codes, bits), scales, offsets.astype(np.float32, copy=False)


def float16_column(blocks: Bytes, position: int) -> Floats:
    """The little-endian float16 at a byte of each block, as a column of float32."""
    return blocks[:, position : position + 2].copy().view("<f2").astype(np.float32)


def nibbles(packed: Bytes, run: int) -> Bytes:
    """Unpacks 4-bit codes: of each `run` bytes, first the low halves, then the high ones. [blocks, 2 * bytes]."""
    runs = packed.reshape(len(packed), -1, 1, run)
    return np.concatenate([runs & np.uint8(15), runs >> np.uint8(4)], axis=2).reshape(len(packed), -1)
