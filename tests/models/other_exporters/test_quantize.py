import numpy as np
import pytest

from testing.other_exporters.quantize import Bits, quantize


@pytest.mark.parametrize("bits", [4, 8])
def test_multiples_of_a_blocks_step_come_back_exactly(bits: Bits) -> None:
    middle = 1 << (bits - 1)
    steps = np.random.default_rng(0).integers(-middle, middle, (5, 64))
    steps[:, ::32] = -middle
    steps_back = quantize((steps * 0.25).astype(np.float32), bits)
    assert np.all(steps_back.scales == 0.25)
    stored = steps_back.packed
    if bits == 4:
        stored = np.stack([stored & 15, stored >> 4], axis=-1)
    np.testing.assert_array_equal(stored.reshape(5, 64).astype(int) - middle, steps)


def test_a_block_of_zeros_stays_zero() -> None:
    quantized = quantize(np.zeros((2, 32), np.float32), 4)
    assert np.all(quantized.packed == 0x88)


@pytest.mark.parametrize(("bits", "error"), [(4, 1 / 8), (8, 1 / 128)])
def test_no_weight_moves_by_more_than_a_step_of_its_block(bits: Bits, error: float) -> None:
    matrix = np.random.default_rng(0).standard_normal((16, 96), dtype=np.float32)
    quantized = quantize(matrix, bits)
    largest = np.abs(matrix.reshape(16, 3, 32)).max(axis=2)
    np.testing.assert_allclose(np.abs(quantized.scales), largest * error, rtol=1e-6)
