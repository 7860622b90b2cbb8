"""The block types of GGUF files that can be exported, and the exact layout that each becomes."""

from gguf import GGMLQuantizationType

from onward_server.export.tensors import BlockLayout

BLOCK_LAYOUTS = {
    GGMLQuantizationType.Q4_0: BlockLayout(bits=4, block_size=32),
    GGMLQuantizationType.Q4_1: BlockLayout(bits=4, block_size=32, has_offsets=True),
    GGMLQuantizationType.Q8_0: BlockLayout(bits=8, block_size=32),
    GGMLQuantizationType.Q4_K: BlockLayout(bits=4, block_size=32, has_offsets=True),
    GGMLQuantizationType.Q5_K: BlockLayout(bits=8, block_size=32, has_offsets=True),
    GGMLQuantizationType.Q6_K: BlockLayout(bits=8, block_size=16),
}
