"""Stores matrices in the types of GGUF."""

from collections.abc import Mapping, Sequence

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray

_CENTERS: Mapping[str, tuple[Sequence[int], float]] = {
    "Q2_K": ([80, 82], 1.5),
    "Q3_K": ([108], 0.0),
    "Q4_K": ([0, 2], 7.5),
    "Q5_K": ([0, 2], 15.5),
    "Q6_K": ([208], 0.0),
    "IQ4_XS": ([0], 0.0),
    "IQ4_NL": ([0], 0.0),
}
"""Types that the gguf package cannot quantize: where the scale and the minimum are, and their ratio for a mean of 0."""


def stored(matrix: NDArray[np.float32], block_type: GGMLQuantizationType, seed: int) -> NDArray[np.generic]:
    """The matrix in a type, or random blocks of it with the same standard deviation."""
    if block_type.name not in _CENTERS:
        return quants.quantize(matrix, block_type)
    num_weights, num_bytes = GGML_QUANT_SIZES[block_type]
    blocks = np.random.default_rng(seed).integers(0, 256, (matrix.size // num_weights, num_bytes), dtype=np.uint8)
    _set_scales(blocks, block_type, 1.0)
    _set_scales(blocks, block_type, float(matrix.std() / quants.dequantize(blocks, block_type).std()))
    return blocks.reshape(len(matrix), -1)


def _set_scales(blocks: NDArray[np.uint8], block_type: GGMLQuantizationType, scale: float) -> None:
    positions, ratio = _CENTERS[block_type.name]
    for position, value in zip(positions, (scale, scale * ratio), strict=False):
        blocks[:, position : position + 2] = np.array([value], "<f2").view(np.uint8)
