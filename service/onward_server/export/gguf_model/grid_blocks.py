"""The block types of GGUF files whose weights come from a grid of few values, as codes of 8 bits.

The gguf package has the grids, and returns floats. A weight is an integer of the grid times the scale of its block. So
the scale is the largest weight of the block divided by one of the integers: the one that makes all weights integers.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray

from onward_server.export.blocks.codec import BlockCodec, Bytes, Unpacked
from onward_server.export.tensors import BlockLayout, Floats

_QUARTER_GRID, _EIGHTHS, _SIGNS = (43, 25, 8), (9, 7, 1), (1,)
_GRIDS: Mapping[GGMLQuantizationType, tuple[int, Sequence[int]]] = {
    GGMLQuantizationType.IQ2_XXS: (32, _QUARTER_GRID),
    GGMLQuantizationType.IQ2_XS: (16, _QUARTER_GRID),
    GGMLQuantizationType.IQ2_S: (16, _QUARTER_GRID),
    GGMLQuantizationType.IQ3_XXS: (32, (62, 52, 44, 36, 28, 20, 12, 4)),
    GGMLQuantizationType.IQ3_S: (32, (15, 13, 11, 9, 7, 5, 3, 1)),
    GGMLQuantizationType.IQ1_S: (32, _EIGHTHS),
    GGMLQuantizationType.IQ1_M: (16, _EIGHTHS),
    GGMLQuantizationType.TQ1_0: (32, _SIGNS),
    GGMLQuantizationType.TQ2_0: (32, (2, 1)),
}
"""Number of weights that share a scale, and the absolute values of the integers."""
_TOLERANCE = 1e-4
"""Relative to the largest weight of a block. A wrong scale moves some weight by a hundredth of it, or none at all."""


def _split(weights: Floats, block_size: int, integers: Sequence[int]) -> tuple[NDArray[np.int8], Floats]:
    """Codes [blocks, block_size] and scales [blocks, 1] of weights [stored blocks, weights].

    A block that fits none of the integers is rounded to 8 bits. The scale of one that is not finite is not finite.
    """
    blocks = weights.reshape(-1, block_size)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    codes, scales = np.zeros(blocks.shape, np.int8), largest.copy()
    pending = np.arange(len(blocks))
    for integer, tolerance in (*((integer, _TOLERANCE) for integer in integers), (127, np.inf)):
        rows, limits = blocks[pending], largest[pending]
        scale = limits / np.float32(integer)
        steps = np.rint(np.divide(rows, scale, out=np.zeros_like(rows), where=scale > 0))
        fits = (np.abs(steps * scale - rows).max(axis=1, keepdims=True) <= tolerance * limits)[:, 0]
        codes[pending[fits]], scales[pending[fits]] = steps[fits], scale[fits]
        pending = pending[~fits]
    return codes, scales


def _unpacking(block_type: GGMLQuantizationType) -> Callable[[Bytes], Unpacked]:
    block_size, integers = _GRIDS[block_type]

    def unpack(blocks: Bytes) -> Unpacked:
        weights = quants.dequantize(blocks, block_type)
        codes, scales = _split(weights, block_size, integers)
        return codes.reshape(weights.shape), scales.reshape(len(weights), -1), None

    return unpack


def _codec(block_type: GGMLQuantizationType) -> BlockCodec:
    num_weights, num_bytes = GGML_QUANT_SIZES[block_type]
    layout = BlockLayout(bits=8, block_size=_GRIDS[block_type][0])
    return BlockCodec(layout=layout, num_weights=num_weights, num_bytes=num_bytes, unpack=_unpacking(block_type))


GRID_BLOCKS: Mapping[GGMLQuantizationType, BlockCodec] = {block_type: _codec(block_type) for block_type in _GRIDS}
