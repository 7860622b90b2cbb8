"""Quantizes weight matrices to blocks of 4-bit or 8-bit integers in the format of MatMulNBits."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = Literal[4, 8]

BITS_OF_A_BYTE = 8

BLOCK_SIZE = 32
"""Number of weights that share a scale. This is the smallest, and so the most exact, that every kernel supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuantized:
    """A matrix [N, K] in blocks along K. A weight is (stored - 2 ** (bits - 1)) * scale."""

    packed: NDArray[np.uint8]
    """[N, K / block, block * bits / 8]. Of two 4-bit weights in a byte, the low half is the first."""
    scales: NDArray[np.float32]
    """[N, K / block]."""
    bits: Bits


def quantize(matrix: NDArray[np.float32], bits: Bits) -> BlockQuantized:
    """Rounds to the nearest step, symmetrically. The weight of largest magnitude in a block is exact.

    Raises:
        ValueError: the number of columns is not a multiple of `BLOCK_SIZE`.
    """
    rows, columns = matrix.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"the matrix has {columns} columns; quantization needs a multiple of {BLOCK_SIZE}")
    blocks = matrix.astype(np.float32).reshape(rows, columns // BLOCK_SIZE, BLOCK_SIZE)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    scales = largest / np.float32(-middle)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    stored = np.clip(np.rint(steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
    packed = stored if bits == BITS_OF_A_BYTE else stored[..., 0::2] + np.uint8(16) * stored[..., 1::2]
    return BlockQuantized(packed=packed, scales=scales[..., 0], bits=bits)
