"""The block types of GGUF files whose weights come from a grid of few values, as codes of 8 bits.

The gguf package has the grids. A weight is an integer of the grid times the scale of its block. So the scale of a block
is its largest weight divided by one of the integers: the one with which all weights of the block become integers.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray

from onward_server.export.blocks.codec import BlockCodec, Bytes, Unpacked
from onward_server.export.tensors import BlockLayout, Floats

_QUARTER_GRID, _EIGHTHS, _SIGNS = (8, 25, 43), (9, 7, 1), (1,)
_GRIDS: Mapping[GGMLQuantizationType, tuple[int, Sequence[int]]] = {
    GGMLQuantizationType.IQ2_XXS: (32, _QUARTER_GRID),
    GGMLQuantizationType.IQ2_XS: (16, _QUARTER_GRID),
    GGMLQuantizationType.IQ2_S: (16, _QUARTER_GRID),
    GGMLQuantizationType.IQ3_XXS: (32, (4, 12, 20, 28, 36, 44, 52, 62)),
    GGMLQuantizationType.IQ3_S: (32, (1, 3, 5, 7, 9, 11, 13, 15)),
    GGMLQuantizationType.IQ1_S: (32, _EIGHTHS),
    GGMLQuantizationType.IQ1_M: (16, _EIGHTHS),
    GGMLQuantizationType.TQ1_0: (32, _SIGNS),
    GGMLQuantizationType.TQ2_0: (32, (1, 2)),
}
"""Number of weights that share a scale, and the absolute values of the integers."""


def _split(weights: Floats, block_size: int, integers: Sequence[int]) -> tuple[NDArray[np.int8], Floats]:
    """Codes [blocks, block_size] and scales [blocks] of weights [stored blocks, weights]."""
    blocks = weights.reshape(-1, block_size)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    codes = np.zeros(blocks.shape, np.int8)
    scales = np.zeros_like(largest)
    least = np.full_like(largest, np.inf)
    for integer in integers:
        scale = largest / np.float32(integer)
        steps = np.rint(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
        error = np.abs(steps * scale - blocks).max(axis=1, keepdims=True)
        better = (error < least)[:, 0]
        codes[better], scales[better], least[better] = steps[better], scale[better], error[better]
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
