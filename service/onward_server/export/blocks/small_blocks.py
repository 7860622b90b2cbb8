"""The block types of GGUF files whose blocks hold 32 weights and one scale."""

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
from onward_server.export.tensors import BlockLayout

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
"""The values that the codes of IQ4_NL and IQ4_XS stand for."""
_MXFP4_VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
"""Twice the values of E2M1."""


def _q4_0(blocks: Bytes) -> Unpacked:
    return signed(nibbles(blocks[:, 2:], 16), 4), float16_column(blocks, 0), None


def _q4_1(blocks: Bytes) -> Unpacked:
    return centered(nibbles(blocks[:, 4:], 16), 4, float16_column(blocks, 0), float16_column(blocks, 2))


def _q5_0(blocks: Bytes) -> Unpacked:
    codes = nibbles(blocks[:, 6:], 16) | _fifth_bits(blocks[:, 2:6])
    return signed(codes, 5), float16_column(blocks, 0), None


def _q5_1(blocks: Bytes) -> Unpacked:
    codes = nibbles(blocks[:, 8:], 16) | _fifth_bits(blocks[:, 4:8])
    return centered(codes, 5, float16_column(blocks, 0), float16_column(blocks, 2))


def _q8_0(blocks: Bytes) -> Unpacked:
    return blocks[:, 2:].view(np.int8), float16_column(blocks, 0), None


def _iq4_nl(blocks: Bytes) -> Unpacked:
    return IQ4_VALUES[nibbles(blocks[:, 2:], 16)], float16_column(blocks, 0), None


def _mxfp4(blocks: Bytes) -> Unpacked:
    """The scale is half a power of two, 2 ** (exponent - 128), which may be subnormal."""
    exponents = blocks[:, :1].astype(np.int32) - 128
    return _MXFP4_VALUES[nibbles(blocks[:, 1:], 16)], np.ldexp(np.float32(1), exponents).astype(np.float32), None


def _fifth_bits(packed: Bytes) -> Bytes:
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _codec(bits: int, num_bytes: int, unpack: Callable[[Bytes], Unpacked], *, has_offsets: bool = False) -> BlockCodec:
    layout = BlockLayout(bits=bits, block_size=32, has_offsets=has_offsets)
    return BlockCodec(layout=layout, num_weights=32, num_bytes=num_bytes, unpack=unpack)


SMALL_BLOCKS: Mapping[str, BlockCodec] = {
    "Q4_0": _codec(4, 18, _q4_0),
    "Q4_1": _codec(4, 20, _q4_1, has_offsets=True),
    "Q5_0": _codec(8, 22, _q5_0),
    "Q5_1": _codec(8, 24, _q5_1, has_offsets=True),
    "Q8_0": _codec(8, 34, _q8_0),
    "IQ4_NL": _codec(8, 18, _iq4_nl),
    "MXFP4": _codec(8, 17, _mxfp4),
}
