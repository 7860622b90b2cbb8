"""Chooses the form in which each weight is stored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward_server.export.tensors import BlockLayout, Blocks, Tensor, read_floats
from onward_server.model.exporting.precision import Precision


@dataclass(frozen=True, slots=True)
class _Floats:
    """A tensor as floats."""

    base: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def layout(self) -> None:
        return None

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return read_floats(self.base, start, stop)


@dataclass(frozen=True, slots=True)
class _Quantized:
    base: Tensor
    layout: BlockLayout

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def read(self, start: int, stop: int) -> Blocks:
        return _quantize(read_floats(self.base, start, stop), self.layout)


_EXACT = "position_embeddings.weight"
_TABLES = ("embed_tokens.weight", "lm_head.weight")
_BYTES = BlockLayout(bits=8, block_size=32)
_HALF_BYTES = BlockLayout(bits=4, block_size=32)


def in_precision(tensors: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """The tensors as they are stored in a precision."""
    return {name: _stored(name, tensor, precision) for name, tensor in tensors.items()}


def _stored(name: str, tensor: Tensor, precision: Precision) -> Tensor:
    if precision in ("fp32", "fp16") or len(tensor.shape) == 1 or name == _EXACT:
        return tensor if tensor.layout is None else _Floats(tensor)
    if tensor.layout is not None:
        return tensor
    # the next token depends most on the table and the output layer, which lose too much in 4 bits: see decision 0034
    return _Quantized(tensor, _HALF_BYTES if precision == "int4" and name not in _TABLES else _BYTES)


def _quantize(matrix: NDArray[np.float32], layout: BlockLayout) -> Blocks:
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % layout.block_size)))
    blocks = padded.reshape(rows, -1, layout.block_size)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    scales = largest / np.float32(-layout.center)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    codes = np.clip(np.rint(steps) + layout.center, 0, 2 * layout.center - 1).astype(np.uint8)
    return Blocks(layout=layout, codes=codes.reshape(rows, -1)[:, :columns], scales=scales[..., 0], offsets=None)
