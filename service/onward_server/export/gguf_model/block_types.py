"""The types of tensors in GGUF files that can be exported, and what each becomes."""

from collections.abc import Callable, Mapping

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from onward_server.export.blocks.codec import BlockCodec
from onward_server.export.blocks.small_blocks import SMALL_BLOCKS
from onward_server.export.blocks.super_blocks import SUPER_BLOCKS
from onward_server.export.gguf_model.grid_blocks import GRID_BLOCKS
from onward_server.export.tensors import Floats

BLOCK_CODECS: Mapping[GGMLQuantizationType, BlockCodec] = {
    **{GGMLQuantizationType[name]: codec for name, codec in {**SMALL_BLOCKS, **SUPER_BLOCKS}.items()},
    **GRID_BLOCKS,
}


def _from_bfloat16(data: NDArray[np.uint8]) -> Floats:
    return (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


FLOAT_TYPES: Mapping[GGMLQuantizationType, Callable[[NDArray[np.uint8]], Floats]] = {
    GGMLQuantizationType.F32: lambda data: data.view("<f4").astype(np.float32, copy=False),
    GGMLQuantizationType.F16: lambda data: data.view("<f2").astype(np.float32),
    GGMLQuantizationType.BF16: _from_bfloat16,
    GGMLQuantizationType.F64: lambda data: data.view("<f8").astype(np.float32),
}
"""Takes the bytes of some values."""
