import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from onward_server.export.gguf_model.block_types import BLOCK_CODECS, FLOAT_TYPES
from tests.gguf_files import SCALES, random_blocks

LISTED = ["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
ROWS, COLUMNS = 24, 768


def random_rows(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return random_blocks(GGMLQuantizationType[name], ROWS, COLUMNS, seed=sum(name.encode()))


def test_all_block_types_that_files_commonly_have_are_decoded() -> None:
    assert {block_type.name for block_type in BLOCK_CODECS} == {*LISTED, *SCALES}


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_decoded_weights_are_those_of_the_gguf_package(block_type: GGMLQuantizationType) -> None:
    rows = random_rows(block_type.name)

    codec = BLOCK_CODECS[block_type]
    blocks = codec.decode(rows)
    expected = quants.dequantize(rows, block_type)

    assert blocks.layout == codec.layout
    assert blocks.codes.shape == expected.shape == (ROWS, COLUMNS)
    assert blocks.scales.shape == (ROWS, COLUMNS // codec.layout.block_size)
    if blocks.offsets is None:
        np.testing.assert_array_equal(blocks.dequantized(), expected)
    else:
        largest = np.abs(blocks.scales).max() * 32 + np.abs(blocks.offsets).max()
        np.testing.assert_allclose(blocks.dequantized(), expected, rtol=0, atol=float(largest) * 2**-23)


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_the_sizes_of_blocks_are_those_of_the_gguf_package(block_type: GGMLQuantizationType) -> None:
    codec = BLOCK_CODECS[block_type]

    assert (codec.num_weights, codec.num_bytes) == GGML_QUANT_SIZES[block_type]


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_codes_fit_their_bits_and_are_centered(block_type: GGMLQuantizationType) -> None:
    layout = BLOCK_CODECS[block_type].layout
    codes = BLOCK_CODECS[block_type].decode(random_rows(block_type.name)).codes

    assert codes.max() < 1 << layout.bits
    assert abs(codes.mean() - layout.center) < (1 << layout.bits) / 16


@pytest.mark.parametrize("block_type", FLOAT_TYPES, ids=lambda block_type: block_type.name)
def test_floats_are_those_of_the_gguf_package(block_type: GGMLQuantizationType) -> None:
    values = np.random.default_rng(7).normal(size=64)
    match block_type:
        case GGMLQuantizationType.F64:
            stored, expected = values.astype("<f8").view(np.uint8), values.astype(np.float32)
        case _:
            stored = quants.quantize(values.astype(np.float32), block_type).view(np.uint8)
            expected = quants.dequantize(stored, block_type)

    np.testing.assert_array_equal(FLOAT_TYPES[block_type](stored), expected)
