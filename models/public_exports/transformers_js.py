"""Makes the files that transformers.js' conversion script makes of an Optimum export, with its tools and settings."""

import os
from pathlib import Path

import onnx
import onnxslim
from onnx import ModelProto

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before ONNX Runtime is loaded

from onnxruntime.quantization import QuantizationMode, QuantType
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.registry import IntegerOpsRegistry
from onnxruntime.transformers import float16

FILE_NAMES = {
    "slim": "model.onnx",
    "fp16": "model_fp16.onnx",
    "fp16-io": "model_fp16.onnx",
    "q4": "model_q4.onnx",
    "q4f16": "model_q4f16.onnx",
    "q4f16-io": "model_q4f16.onnx",
    "int8": "model_int8.onnx",
    "uint8": "model_uint8.onnx",
    "quantized": "model_quantized.onnx",
    "bnb4": "model_bnb4.onnx",
}
"""The file of each variant. Those that end in `-io` have caches and logits of 16 bits, too."""


def write_quantized(source: Path, variant: str, target: Path) -> None:
    """Writes one quantized form of a float32 file.

    Args:
        source: The float32 file of an Optimum export.
        variant: One of `FILE_NAMES`.
        target: The file to write.
    """
    model = onnxslim.slim(onnx.load(source))
    name = variant.removesuffix("-io")
    match name:
        case "fp16":
            model = _half(model, keep_io=name == variant)
        case "q4":
            model = _four_bits(model)
        case "q4f16":
            model = _half(_four_bits(model), keep_io=name == variant)
        case "int8" | "quantized":
            model = _eight_bits(model, QuantType.QInt8)
        case "uint8":
            model = _eight_bits(model, QuantType.QUInt8)
        case "bnb4":
            quantizer = MatMulBnb4Quantizer(model, MatMulBnb4Quantizer.NF4, 64)
            quantizer.process()
            model = quantizer.model.model
        case "slim":
            pass
        case _:
            raise ValueError(f"{variant}: no such variant")
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, target)


def _half(model: ModelProto, *, keep_io: bool) -> ModelProto:
    return onnxslim.slim(float16.convert_float_to_float16(model, keep_io_types=keep_io))


def _four_bits(model: ModelProto) -> ModelProto:
    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=None)
    quantizer.process()
    return quantizer.model.model


def _eight_bits(model: ModelProto, weight_type: QuantType) -> ModelProto:
    quantizer = ONNXQuantizer(
        model,
        per_channel=None,
        reduce_range=None,
        mode=QuantizationMode.IntegerOps,
        static=False,
        weight_qType=weight_type,
        activation_qType=QuantType.QUInt8,
        tensors_range=None,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=set(IntegerOpsRegistry),
        extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
    )
    quantizer.quantize_model()
    return quantizer.model.model
