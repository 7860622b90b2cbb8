"""Rounds weight matrices to blocks of 4 or 8 bit integers as MatMulNBits reads them; it knows no graph."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = Literal[4, 8]

BITS_OF_A_BYTE = 8

BLOCK_SIZE = 32
"""Weights that share a scale: the smallest that every kernel takes, hence the most exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuantized:
    """A matrix [N, K] in blocks along K; a weight is (stored - 2 ** (bits - 1)) * scale."""

    packed: NDArray[np.uint8]
    """[N, K / block, block * bits / 8]; of two 4 bit weights in a byte the first is in the low half."""
    scales: NDArray[np.float32]
    """[N, K / block]."""
    bits: Bits


def quantize(matrix: NDArray[np.float32], bits: Bits) -> BlockQuantized:
    """Rounds to nearest, symmetrically; a block's largest weight keeps its value exactly."""
    rows, columns = matrix.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"a quantised matrix needs columns in multiples of {BLOCK_SIZE}, not {columns}")
    blocks = matrix.astype(np.float32).reshape(rows, columns // BLOCK_SIZE, BLOCK_SIZE)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    scales = largest / np.float32(-middle)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    stored = np.clip(np.rint(steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
    packed = stored if bits == BITS_OF_A_BYTE else stored[..., 0::2] + np.uint8(16) * stored[..., 1::2]
    return BlockQuantized(packed=packed, scales=scales[..., 0], bits=bits)
