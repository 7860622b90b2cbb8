"""The types of tensors in GGUF files that can be exported, and what each becomes."""

from collections.abc import Callable, Mapping

from gguf import GGMLQuantizationType

from onward_server.export.blocks.codec import BlockCodec, Bytes
from onward_server.export.blocks.floats import FLOATS
from onward_server.export.blocks.small_blocks import SMALL_BLOCKS
from onward_server.export.blocks.super_blocks import SUPER_BLOCKS
from onward_server.export.gguf_model.grid_blocks import GRID_BLOCKS
from onward_server.export.tensors import Floats

BLOCK_CODECS: Mapping[GGMLQuantizationType, BlockCodec] = {
    **{GGMLQuantizationType[name]: codec for name, codec in {**SMALL_BLOCKS, **SUPER_BLOCKS}.items()},
    **GRID_BLOCKS,
}


FLOAT_TYPES: Mapping[GGMLQuantizationType, Callable[[Bytes], Floats]] = {
    GGMLQuantizationType[name]: decode for name, decode in FLOATS.items()
}
"""See `FLOATS`."""
