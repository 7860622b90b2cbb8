"""Embedding lookups and matrix products over weights that are stored as floats or as blocks of integers."""

from dataclasses import dataclass, field

from onnx import TensorProto

from onward_server.export.graph.onnx_graph import MICROSOFT, Graph
from onward_server.export.graph.stored_weights import BlockWeight, FloatType, FloatWeight
from onward_server.export.tensors import BlockLayout, Tensor

_INT8_ACTIVATIONS = 4
"""MatMulNBits accuracy level: quantizes activations to 8 bits a block too, several times faster than level 0."""


@dataclass(frozen=True, slots=True)
class Products:
    """Stores matrices in a graph, and adds the nodes that use them."""

    graph: Graph
    float_type: FloatType
    """Type of the floats, computations included."""
    _block_sums: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])

    def lookup(self, ids: str, name: str, table: Tensor, output: str) -> str:
        """Rows of a table [V, H], selected by id."""
        if table.layout is None:
            return self.graph.node("Gather", [self._floats(name, table), ids], output)
        return self._lookup_blocks(ids, self._blocks(name, table, table.layout), table, output)

    def multiply(self, rows: str, name: str, matrix: Tensor, output: str) -> str:
        """Rows [.., K] times a matrix [N, K] transposed."""
        layout = matrix.layout
        if layout is None:
            return self._multiply_floats(rows, self._floats(name, matrix), output)
        codes, scales, *offsets = self._blocks(name, matrix, layout)
        product = f"{output}.scaled" if offsets else output
        self.graph.node(
            "MatMulNBits",
            [rows, codes, scales],
            product,
            domain=MICROSOFT,
            accuracy_level=_INT8_ACTIVATIONS,
            N=matrix.shape[0],
            K=matrix.shape[1],
            bits=layout.bits,
            block_size=layout.block_size,
        )
        if not offsets:
            return product
        sums = self._sums(rows, matrix.shape[1], layout.block_size)
        return self.graph.node("Add", [product, self._multiply_floats(sums, offsets[0], f"{output}.offset")], output)

    def _floats(self, name: str, tensor: Tensor) -> str:
        return self.graph.weight(FloatWeight(name=name, tensor=tensor, element_type=self.float_type))[0]

    def _blocks(self, name: str, matrix: Tensor, layout: BlockLayout) -> tuple[str, ...]:
        return self.graph.weight(BlockWeight(name=name, tensor=matrix, layout=layout, float_type=self.float_type))

    def _multiply_floats(self, rows: str, matrix: str, output: str) -> str:
        return self.graph.node("FusedMatMul", [rows, matrix], output, domain=MICROSOFT, transB=1)

    def _sums(self, rows: str, columns: int, block_size: int) -> str:
        """The sum of each block of columns, [.., blocks]."""
        graph, name = self.graph, f"{rows}.blocks_of_{block_size}"
        if (rows, block_size) not in self._block_sums:
            full = rows
            if missing := -columns % block_size:
                full = graph.node("Pad", [rows, graph.integers(0, 0, 0, 0, 0, missing)], f"{name}.padded")
            blocks = graph.node("Reshape", [full, graph.integers(0, 0, -1, block_size)], name)
            sums = graph.node("ReduceSum", [blocks, graph.integers(-1)], f"{name}.sums", keepdims=0)
            self._block_sums[rows, block_size] = sums
        return self._block_sums[rows, block_size]

    def _lookup_blocks(self, ids: str, stored: tuple[str, ...], table: Tensor, output: str) -> str:
        graph, layout = self.graph, table.layout
        assert layout is not None
        codes, scales, *offsets = stored
        num_rows, columns = table.shape
        num_blocks = -(-columns // layout.block_size)
        width = num_blocks * layout.block_size
        flat = graph.view(codes, (num_rows, width * layout.bits // 8))
        rows = f"{output}.rows" if offsets or width > columns else output
        graph.node(
            "GatherBlockQuantized",
            [flat, ids, scales],
            rows,
            domain=MICROSOFT,
            bits=layout.bits,
            block_size=layout.block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        if offsets:
            blocks = graph.node("Reshape", [rows, graph.integers(0, 0, -1, layout.block_size)], f"{output}.blocks")
            of_blocks = graph.node("Gather", [offsets[0], ids], f"{output}.offsets")
            of_blocks = graph.node("Unsqueeze", [of_blocks, graph.integers(-1)], f"{output}.offset_columns")
            blocks = graph.node("Add", [blocks, of_blocks], f"{output}.exact_blocks")
            last = f"{output}.exact" if width > columns else output
            rows = graph.node("Reshape", [blocks, graph.integers(0, 0, width)], last)
        if width > columns:
            bounds = [graph.integers(0), graph.integers(columns), graph.integers(-1)]
            rows = graph.node("Slice", [rows, *bounds], output)
        return rows


ONNX_FLOATS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
