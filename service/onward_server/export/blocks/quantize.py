"""Quantizes weights to blocks of integers."""

import numpy as np

from onward_server.export.tensors import BlockLayout, Blocks, Floats


def quantize(matrix: Floats, layout: BlockLayout) -> Blocks:
    """Rounds each weight of a matrix [N, K] to the nearest step of its block, symmetrically.

    The weight of largest magnitude in a block gets the lowest code and stays exact, so the scale has the opposite sign
    of that weight. Other weights move by half a step at most, except those near the same magnitude with the other sign:
    their code is clipped, and they move by up to a whole step.

    Args:
        matrix: K need not be a multiple of the block size. Rows are quantized independently of each other.
        layout: A layout without offsets.

    Raises:
        ValueError: A weight is infinite or not a number.
    """
    num_rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % layout.block_size)))
    blocks = padded.reshape(num_rows, -1, layout.block_size)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    if not np.isfinite(largest).all():
        raise ValueError("a weight is infinite or not a number")
    scales = largest / np.float32(-layout.center)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    codes = np.clip(np.rint(steps) + layout.center, 0, 2 * layout.center - 1).astype(np.uint8)
    return Blocks(layout=layout, codes=codes.reshape(num_rows, -1)[:, :columns], scales=scales[..., 0], offsets=None)
