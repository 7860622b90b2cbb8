"""Chooses for each weight whether it is stored as floats or as blocks, by the precision of the export."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.blocks.quantize import quantize
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
    name: str
    base: Tensor
    layout: BlockLayout

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def read(self, start: int, stop: int) -> Blocks:
        floats = read_floats(self.base, start, stop)
        try:
            return quantize(floats, self.layout)
        except ValueError as error:
            raise ExportError(f"{self.name}: {error}; export it as fp32 to keep it") from error


_EXACT = "position_embeddings.weight"
_TABLES = ("embed_tokens.weight", "lm_head.weight")
_VALUE_PROJECTIONS = ".v_proj.weight"
"""The few weights whose products suffer most from 8-bit activations: see decision 0033."""
_BYTES = BlockLayout(bits=8, block_size=32)
_HALF_BYTES = BlockLayout(bits=4, block_size=32)


def in_precision(tensors: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """The tensors as they are stored in a precision."""
    return {name: _stored(name, tensor, precision) for name, tensor in tensors.items()}


def _stored(name: str, tensor: Tensor, precision: Precision) -> Tensor:
    if precision in ("fp32", "fp16") or len(tensor.shape) == 1 or name == _EXACT:
        return tensor if tensor.layout is None else _Floats(tensor)
    if precision == "int8" and name.endswith(_VALUE_PROJECTIONS):
        return tensor if tensor.layout is None else _Floats(tensor)
    if tensor.layout is not None:
        return tensor
    # the next token depends most on the table and the output layer, which lose too much in 4 bits: see decision 0033
    return _Quantized(name, tensor, _HALF_BYTES if precision == "int4" and name not in _TABLES else _BYTES)
