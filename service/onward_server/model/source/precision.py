"""The number format of a model's weights, read from its graph."""

from collections import Counter
from collections.abc import Mapping

from onward_server.model.source.onnx_file import Constant, NodeInput, OnnxFile

_TYPES: Mapping[int, str] = {
    1: "fp32",
    2: "int8",
    3: "int8",
    10: "fp16",
    11: "fp64",
    16: "bf16",
    17: "fp8",
    18: "fp8",
    19: "fp8",
    20: "fp8",
    21: "int4",
    22: "int4",
    23: "fp4",
    25: "int2",
    26: "int2",
}
"""Names of the values of `TensorProto.DataType`. Unsigned integers count as integers with a zero point."""
_FLOATS = frozenset({"fp64", "fp32", "fp16", "bf16"})
_EMBEDDINGS = frozenset({"Gather", "GatherBlockQuantized"})
"""Operators that look up rows. Their tables often have another format than the weights of matrix products."""
_PRODUCTS: Mapping[str, tuple[int, ...]] = {
    "Cast": (0,),
    "Conv": (1,),
    "DequantizeLinear": (0,),
    "DynamicQuantizeMatMul": (1,),
    "Einsum": (0, 1),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "MatMulBnb4": (1,),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "MatMulNBits": (1,),
    "MoE": (2, 4, 6),
    "QGemm": (0, 3),
    "QLinearMatMul": (0, 3),
    "QMoE": (2, 5, 8),
    "Transpose": (0,),
}
"""The inputs to which weights are bound. Cast and Transpose usually feed one of the other operators."""
_HALF_TYPES = frozenset({10, 16})
_PACKED_BITS = 4
"""Width of integers in MatMulNBits, GatherBlockQuantized and QMoE if no attribute gives it."""
_SMALLEST_SHARE, _SMALLEST_FLOAT_SHARE = 0.1, 0.5


def computes_in_half(onnx_file: OnnxFile) -> bool:
    """Whether a graph has constants of 16 bits."""
    return any(constant.data_type in _HALF_TYPES for constant in onnx_file.constants.values())


def precision_of(onnx_file: OnnxFile) -> str:
    """Names the formats of the weights of matrix products, the most common first, as in `int4` or `int4+int8`.

    A quantized format counts if it holds a tenth of them, or else a floating-point format if it holds half: an int4
    model often keeps its first or last matrix in floating point.
    """
    sizes = _sizes(onnx_file, _PRODUCTS) or _sizes(onnx_file, dict.fromkeys(_EMBEDDINGS, (0, 1)))
    shares = {name: size / sizes.total() for name, size in sizes.most_common()}
    common = [
        name
        for name, share in shares.items()
        if share >= (_SMALLEST_FLOAT_SHARE if name in _FLOATS else _SMALLEST_SHARE)
    ]
    return "+".join(common) or next(iter(shares), "unknown")


def _sizes(onnx_file: OnnxFile, inputs: Mapping[str, tuple[int, ...]]) -> Counter[str]:
    """Number of weights in each format."""
    sizes = Counter[str]()
    for name, constant in onnx_file.constants.items():
        use = next((use for use in onnx_file.uses.get(name, ()) if use.index in inputs.get(use.op_type, ())), None)
        if use is not None:
            format_, size = _format_and_size(constant, use)
            sizes[format_] += size
    return +sizes


def _format_and_size(constant: Constant, use: NodeInput) -> tuple[str, int]:
    match use.op_type:
        case "MatMulBnb4":
            return "bnb4", 2 * constant.num_elements
        case "MatMulNBits" | "GatherBlockQuantized" | "QMoE" if _TYPES.get(constant.data_type) == "int8":
            bits = use.bits or _PACKED_BITS
            return f"int{bits}", constant.num_elements * 8 // bits
        case _:
            size = constant.num_elements if constant.rank > 1 else 0
            return _TYPES.get(constant.data_type, "unknown"), size
