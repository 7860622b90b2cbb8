"""Embedding lookups and matrix products over weights that are stored in one of four formats."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from testing.other_exporters.graph import MICROSOFT, Graph
from testing.other_exporters.quantize import BLOCK_SIZE, Bits, quantize

WeightFormat: TypeAlias = Literal["float32", "float16", "int8", "int4"]
"""How a matrix is stored. Computation is in float32; float16 weights are widened when the model loads."""

INTEGER_BITS: dict[WeightFormat, Bits] = {"int8": 8, "int4": 4}

INT8_ACTIVATIONS = 4
"""MatMulNBits accuracy level: quantises activations to 8 bits a block too, several times quicker than level 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFormats:
    """The format of each part of a model."""

    layers: WeightFormat = "float32"
    embeddings: WeightFormat = "float32"
    """The embedding table and the output layer, tied or not."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Stores matrices in a graph in one format, and adds the nodes that use them."""

    graph: Graph
    format: WeightFormat

    def lookup(self, ids: str, name: str, table: NDArray[np.float32], output: str) -> str:
        """Rows of a table [V, H], selected by id."""
        bits = INTEGER_BITS.get(self.format)
        if bits is None:
            stored = self._stored(name, table)
            if self.format == "float32":
                return self.graph.node("Gather", [stored, ids], output)
            rows = self.graph.node("Gather", [stored, ids], f"{output}.float16")
            return self.graph.node("Cast", [rows], output, to=TensorProto.FLOAT)
        packed, scales = self._integers(name, table, bits)
        flat = self._flat(packed, table.shape[1] * bits // 8)
        attributes = {"bits": bits, "block_size": BLOCK_SIZE, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.node("GatherBlockQuantized", [flat, ids, scales], output, domain=MICROSOFT, **attributes)

    def product(self, rows: str, name: str, matrix: NDArray[np.float32], output: str) -> str:
        """Rows [.., K] times a matrix [N, K] transposed."""
        bits = INTEGER_BITS.get(self.format)
        if bits is None:
            turned = self._float(f"{name}.transposed", matrix.T)
            return self.graph.node("MatMul", [rows, turned], output)
        packed, scales = self._integers(name, matrix, bits)
        size = {"N": matrix.shape[0], "K": matrix.shape[1], "bits": bits, "block_size": BLOCK_SIZE}
        return self.graph.node(
            "MatMulNBits", [rows, packed, scales], output, domain=MICROSOFT, accuracy_level=INT8_ACTIVATIONS, **size
        )

    def tied_product(self, rows: str, name: str, table: NDArray[np.float32], output: str) -> str:
        """As `product`, for a table that `lookup` already stored."""
        if self.format in INTEGER_BITS:
            return self.product(rows, name, table, output)
        turned = self.graph.node("Transpose", [self._float(name, table)], f"{name}.transposed", perm=[1, 0])
        return self.graph.node("MatMul", [rows, turned], output)

    def _stored(self, name: str, matrix: NDArray[np.float32]) -> str:
        return self.graph.constant(name, matrix.astype(self.format))

    def _float(self, name: str, matrix: NDArray[np.float32]) -> str:
        """The matrix in float32; narrower weights are widened once, when the model loads."""
        stored = self._stored(name, matrix)
        if self.format == "float32":
            return stored
        return self.graph.node("Cast", [stored], f"{name}.float32", to=TensorProto.FLOAT)

    def _integers(self, name: str, matrix: NDArray[np.float32], bits: Bits) -> tuple[str, str]:
        quantized = quantize(matrix, bits)
        packed = self.graph.constant(f"{name}.packed", quantized.packed)
        return packed, self.graph.constant(f"{name}.scales", quantized.scales)

    def _flat(self, packed: str, width: int) -> str:
        return self.graph.node("Reshape", [packed, self.graph.integers(0, width)], f"{packed}.flat")
