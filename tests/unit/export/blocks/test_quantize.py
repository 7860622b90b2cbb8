"""Quantizing weights to blocks, and the choice of their bits."""

import numpy as np
import pytest

from onward_server.errors import ExportError
from onward_server.export.blocks.quantize import quantize
from onward_server.export.graph.stored_formats import in_precision
from onward_server.export.tensors import ArrayTensor, BlockLayout, Blocks, Floats

LAYOUTS = [BlockLayout(bits=bits, block_size=32) for bits in (4, 8)]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.bits}-bits")


def _weights(rows: int, columns: int) -> Floats:
    """Heavy-tailed, as trained weights are."""
    return np.random.default_rng(0).standard_t(4, (rows, columns)).astype(np.float32)


def _largest(matrix: Floats) -> Floats:
    """The largest magnitude of each weight's block, in the shape of the matrix."""
    blocks = np.abs(matrix).reshape(len(matrix), -1, 32).max(axis=2)
    return np.repeat(blocks, 32, axis=1)


@layouts
def test_multiples_of_a_blocks_step_come_back_exactly(layout: BlockLayout) -> None:
    steps = np.random.default_rng(0).integers(-layout.center, layout.center, (5, 64))
    steps[:, ::32] = -layout.center
    matrix = (steps * 0.25).astype(np.float32)
    np.testing.assert_array_equal(quantize(matrix, layout).dequantized(), matrix)


@layouts
def test_the_largest_weight_of_a_block_is_exact_and_others_move_by_half_a_step_at_most(layout: BlockLayout) -> None:
    matrix = _weights(16, 96)
    matrix[0] = -matrix[0]
    moved = np.abs(quantize(matrix, layout).dequantized() - matrix)
    largest = _largest(matrix)
    steps = largest / layout.center
    assert np.all(moved[np.abs(matrix) == largest] <= largest[np.abs(matrix) == largest] * 1e-6)
    inside = np.abs(matrix) <= largest - steps
    assert inside.sum() > matrix.size / 2
    assert np.all(moved[inside] <= steps[inside] * 0.5001)
    assert np.all(moved <= steps * 1.0001)


@layouts
def test_zeros_and_the_smallest_floats_stay_finite(layout: BlockLayout) -> None:
    matrix = np.zeros((3, 64), np.float32)
    matrix[1, 0] = np.finfo(np.float32).smallest_subnormal
    matrix[2, 40] = np.finfo(np.float32).max
    restored = quantize(matrix, layout).dequantized()
    assert np.all(restored[:2] == 0)
    np.testing.assert_array_equal(restored[2], matrix[2])


@layouts
@pytest.mark.parametrize("columns", [8, 31, 33, 80])
def test_columns_that_do_not_fill_the_last_block_are_quantized_as_if_zeros_followed(
    layout: BlockLayout, columns: int
) -> None:
    matrix = _weights(4, columns)
    whole = np.pad(matrix, ((0, 0), (0, -columns % 32)))
    short = quantize(matrix, layout)
    assert short.codes.shape == (4, columns)
    assert short.scales.shape == (4, -(-columns // 32))
    np.testing.assert_array_equal(short.dequantized(), quantize(whole, layout).dequantized()[:, :columns])


@layouts
def test_rows_are_quantized_alike_alone_and_together(layout: BlockLayout) -> None:
    matrix = _weights(9, 64)
    together, alone = quantize(matrix, layout), [quantize(row[None], layout) for row in matrix]
    np.testing.assert_array_equal(together.codes, np.concatenate([row.codes for row in alone]))
    np.testing.assert_array_equal(together.scales, np.concatenate([row.scales for row in alone]))


NAMES = {"embed_tokens.weight": 8, "lm_head.weight": 8, "layers.0.o_proj.weight": 4}


def test_int4_quantizes_layers_to_4_bits_and_the_vocabularys_matrices_to_8() -> None:
    stored = in_precision({name: ArrayTensor(_weights(4, 64)) for name in NAMES}, "int4")
    bits = {name: tensor.layout.bits for name, tensor in stored.items() if tensor.layout}
    assert bits == NAMES
    for name, tensor in stored.items():
        rows = tensor.read(1, 3)
        assert isinstance(rows, Blocks)
        assert rows.codes.max() < 1 << NAMES[name]
        np.testing.assert_allclose(
            rows.dequantized(), _weights(4, 64)[1:3], atol=float(_largest(_weights(4, 64)).max()) / 8
        )


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_weight_that_blocks_cannot_hold_is_reported_with_its_tensor(value: float) -> None:
    matrix = _weights(4, 64)
    matrix[2, 5] = value
    stored = in_precision({"layers.0.o_proj.weight": ArrayTensor(matrix)}, "int8")["layers.0.o_proj.weight"]
    stored.read(0, 2)
    with pytest.raises(ExportError, match=r"layers\.0\.o_proj\.weight: a weight is infinite or not a number"):
        stored.read(2, 4)
