"""Converts a decoder to float16, which CUDA's fused attention requires."""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

_LARGEST = np.finfo(np.float16).max


def narrow_to_float16(model: ModelProto) -> ModelProto:
    """Converts float32 inputs, outputs, weights and casts to float16, in place, and returns the same model.

    Values outside float16's range, such as the lowest float of a mask, become its largest or lowest value.
    """
    graph = model.graph
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(_narrowed(numpy_helper.to_array(weight)), weight.name))
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Cast" else ():
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    return model


def _narrowed(weight: NDArray[np.generic]) -> NDArray[np.float16]:
    return np.clip(weight.astype(np.float32), -_LARGEST, _LARGEST).astype(np.float16)
