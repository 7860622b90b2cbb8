"""The precision is read from the weights of the graph, in every form in which exporters store them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import NodeProto, TensorProto, helper

from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.precision import precision_of

Weight = tuple[str, int, Sequence[int]]
"""Name, type and shape of an initializer."""


def node(op_type: str, *inputs: str, **attributes: Any) -> NodeProto:  # noqa: ANN401  as helper.make_node has it
    return helper.make_node(op_type, inputs, [f"{op_type}_{'_'.join(inputs)}"], **attributes)


def write_graph(folder: Path, nodes: Sequence[NodeProto], weights: Sequence[Weight]) -> OnnxFile:
    tensors: list[TensorProto] = []
    for name, data_type, shape in weights:
        tensor = TensorProto(name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights.bin")
        tensors.append(tensor)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [], [], tensors)).SerializeToString())
    return OnnxFile.read(path)


FLOAT, HALF, BF16, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.UINT8
HEAD: Weight = ("head", FLOAT, (64, 64))
SCALES: Weight = ("scales", FLOAT, (4, 8))

CASES: dict[str, tuple[str, Sequence[NodeProto], Sequence[Weight]]] = {
    "fp32": ("fp32", [node("MatMul", "x", "w")], [("w", FLOAT, (64, 64))]),
    "fp16": ("fp16", [node("MatMul", "x", "w"), node("Add", "x", "b")], [("w", HALF, (64, 64)), ("b", FLOAT, (9, 99))]),
    "bf16": ("bf16", [node("Cast", "w")], [("w", BF16, (64, 64))]),
    "fp16 beside an fp32 embedding": (
        "fp16",
        [node("Gather", "table", "ids"), node("Gemm", "x", "w")],
        [("table", FLOAT, (999, 64)), ("w", HALF, (64, 64))],
    ),
    "q4": (
        "int4",
        [node("MatMulNBits", "x", "w", "scales", bits=4), node("MatMul", "x", "head")],
        [("w", BYTE, (256, 2, 16)), HEAD, SCALES],
    ),
    "q4 without the attribute": ("int4", [node("MatMulNBits", "x", "w", "scales")], [("w", BYTE, (64, 2, 16)), SCALES]),
    "8 bits": ("int8", [node("MatMulNBits", "x", "w", "scales", bits=8)], [("w", BYTE, (64, 2, 32)), SCALES]),
    "2 bits": ("int2", [node("MatMulNBits", "x", "w", "scales", bits=2)], [("w", BYTE, (64, 2, 8)), SCALES]),
    "4 and 8 bits": (
        "int4+int8",
        [node("MatMulNBits", "x", "w", bits=4), node("MatMulNBits", "x", "v", bits=8)],
        [("w", BYTE, (64, 4, 16)), ("v", BYTE, (64, 1, 32))],
    ),
    "a quantized head alone": (
        "fp32+int4",
        [node("Gemm", "x", "w"), node("MatMulNBits", "x", "v", bits=4)],
        [("w", FLOAT, (64, 192)), ("v", BYTE, (64, 2, 16))],
    ),
    "bnb4": ("bnb4", [node("MatMulBnb4", "x", "w", "scales", K=64, N=64)], [("w", BYTE, (2048,)), SCALES]),
    "int4 in QDQ form": (
        "int4",
        [node("DequantizeLinear", "w", "scales")],
        [("w", TensorProto.INT4, (64, 64)), SCALES],
    ),
    "uint4 in QDQ form": ("int4", [node("DequantizeLinear", "w", "s")], [("w", TensorProto.UINT4, (64, 64))]),
    "int8 in QDQ form": (
        "int8",
        [node("QuantizeLinear", "x", "s", "z"), node("DequantizeLinear", "w", "s"), node("DequantizeLinear", "b", "s")],
        [("w", TensorProto.INT8, (64, 64)), ("b", TensorProto.INT32, (64,)), ("s", FLOAT, ())],
    ),
    "dynamic int8": (
        "int8",
        [node("DynamicQuantizeLinear", "x"), node("MatMulInteger", "x", "w", "z"), node("MatMul", "x", "head")],
        [("w", TensorProto.INT8, (256, 64)), HEAD],
    ),
    "dynamic uint8, fused": ("int8", [node("DynamicQuantizeMatMul", "x", "w", "s")], [("w", BYTE, (64, 64))]),
    "an int4 embedding beside fp16": (
        "fp16",
        [node("GatherBlockQuantized", "table", "ids", "s"), node("MatMul", "x", "w")],
        [("table", BYTE, (999, 32)), ("w", HALF, (64, 64))],
    ),
    "an embedding alone": ("int4", [node("GatherBlockQuantized", "table", "ids", "s")], [("table", BYTE, (99, 32))]),
    "int4 experts": (
        "int4",
        [node("QMoE", "x", "r", "w", "s", "b", "v", expert_weight_bits=4)],
        [("w", BYTE, (8, 64, 32)), ("v", BYTE, (8, 64, 32))],
    ),
    "fp8": ("fp8", [node("DequantizeLinear", "w", "s")], [("w", TensorProto.FLOAT8E4M3FN, (64, 64))]),
    "no weights": ("unknown", [node("Add", "x", "y")], []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_precision_is_that_of_most_weights(tmp_path: Path, case: str) -> None:
    precision, nodes, weights = CASES[case]
    assert precision_of(write_graph(tmp_path, nodes, weights)) == precision


def test_weights_in_constant_nodes_count(tmp_path: Path) -> None:
    """torch.onnx.export without constant folding writes some."""
    weight = TensorProto(data_type=HALF, dims=(2, 2), raw_data=bytes(8))
    constant = helper.make_node("Constant", [], ["w"], value=weight)
    assert precision_of(write_graph(tmp_path, [constant, node("MatMul", "x", "w")], [])) == "fp16"
