"""The block types of GGUF files whose blocks hold 256 weights, and a quantized scale for each 16 or 32 of them."""

from collections.abc import Callable, Mapping

import numpy as np

from onward_server.export.blocks.codec import (
    BlockCodec,
    Bytes,
    Unpacked,
    centered,
    float16_column,
    nibbles,
    signed,
)
from onward_server.export.blocks.small_blocks import IQ4_VALUES
from onward_server.export.tensors import BlockLayout, Floats

_NUM_WEIGHTS = 256


def _q2_k(blocks: Bytes) -> Unpacked:
    factors = blocks[:, :16]
    scales = float16_column(blocks, 80) * (factors & 15)
    minima = float16_column(blocks, 82) * (factors >> 4)
    return centered(_bits(blocks[:, 16:80], 32, 2), 2, scales, -minima)


def _q3_k(blocks: Bytes) -> Unpacked:
    """The third bit of a code, which is inverted, comes from a mask of its own."""
    codes = _bits(blocks[:, 32:96], 32, 2) | (_bits(blocks[:, :32], 32, 1) << np.uint8(2))
    low, high = nibbles(blocks[:, 96:104], 8), _bits(blocks[:, 104:108], 4, 2)
    factors = (low | (high << np.uint8(4))).astype(np.int8) - np.int8(32)
    return signed(codes, 3), float16_column(blocks, 108) * factors, None


def _q4_k(blocks: Bytes) -> Unpacked:
    return centered(nibbles(blocks[:, 16:], 32), 4, *_scales_and_minima(blocks))


def _q5_k(blocks: Bytes) -> Unpacked:
    codes = nibbles(blocks[:, 48:], 32) | (_bits(blocks[:, 16:48], 32, 1) << np.uint8(4))
    return centered(codes, 5, *_scales_and_minima(blocks))


def _q6_k(blocks: Bytes) -> Unpacked:
    codes = nibbles(blocks[:, :128], 64) | (_bits(blocks[:, 128:192], 32, 2) << np.uint8(4))
    scales = float16_column(blocks, 208) * blocks[:, 192:208].view(np.int8)
    return signed(codes, 6), scales, None


def _iq4_xs(blocks: Bytes) -> Unpacked:
    low = np.stack([blocks[:, 4:8] & 15, blocks[:, 4:8] >> 4], axis=2).reshape(-1, 8)
    pairs = blocks[:, 2:4].copy().view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16)
    factors = (low | ((pairs & 3).astype(np.uint8) << np.uint8(4))).astype(np.int8) - np.int8(32)
    return IQ4_VALUES[nibbles(blocks[:, 8:], 16)], float16_column(blocks, 0) * factors, None


def _scales_and_minima(blocks: Bytes) -> tuple[Floats, Floats]:
    """Eight factors of 6 bits for the scale and eight for the minimum, in 12 bytes.

    The first four bytes hold four factors of the scale, the next four those of the minimum, and the last four the low
    bits of the other factors, whose high bits are the spare bits of the first eight bytes.
    """
    of_scale, of_minimum, low = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = np.concatenate([of_scale & 63, (low & 15) | (of_scale >> 2 & 48)], axis=1)
    minima = np.concatenate([of_minimum & 63, (low >> 4) | (of_minimum >> 2 & 48)], axis=1)
    return float16_column(blocks, 0) * scales, -(float16_column(blocks, 2) * minima)


def _bits(packed: Bytes, run: int, width: int) -> Bytes:
    """Unpacks codes of 1 or 2 bits: of each `run` bytes, first the lowest bits of all, then the next ones."""
    shifts = np.arange(0, 8, width, dtype=np.uint8).reshape(1, 1, -1, 1)
    codes = packed.reshape(len(packed), -1, 1, run) >> shifts & np.uint8((1 << width) - 1)
    return codes.reshape(len(packed), -1)


def _codec(
    bits: int, block_size: int, num_bytes: int, unpack: Callable[[Bytes], Unpacked], *, has_offsets: bool = False
) -> BlockCodec:
    layout = BlockLayout(bits=bits, block_size=block_size, has_offsets=has_offsets)
    return BlockCodec(layout=layout, num_weights=_NUM_WEIGHTS, num_bytes=num_bytes, unpack=unpack)


SUPER_BLOCKS: Mapping[str, BlockCodec] = {
    "Q2_K": _codec(4, 16, 84, _q2_k, has_offsets=True),
    "Q3_K": _codec(4, 16, 110, _q3_k),
    "Q4_K": _codec(4, 32, 144, _q4_k, has_offsets=True),
    "Q5_K": _codec(8, 32, 176, _q5_k, has_offsets=True),
    "Q6_K": _codec(8, 16, 210, _q6_k),
    "IQ4_XS": _codec(8, 32, 136, _iq4_xs),
}
