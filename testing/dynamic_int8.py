"""Quantizes products of a graph dynamically, as the `_int8` and `_quantized` files of transformers.js are."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def quantize_dynamically(model: ModelProto) -> ModelProto:
    """Replaces products by constant matrices in place: activations get one scale for a whole tensor in each run."""
    graph = model.graph
    matrices = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in matrices:
            nodes.append(node)
            continue
        rows, name, output = node.input[0], node.input[1], node.output[0]
        matrix = numpy_helper.to_array(matrices[name]).astype(np.float32)
        scale = np.float32(np.abs(matrix).max() / 127)
        graph.initializer.append(numpy_helper.from_array(np.rint(matrix / scale).astype(np.int8), f"{name}.integers"))
        graph.initializer.append(numpy_helper.from_array(np.array(scale), f"{name}.scale"))
        parts = [f"{output}.{part}" for part in ("quantized", "row_scale", "zero_point")]
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [rows], parts),
            helper.make_node("MatMulInteger", [parts[0], f"{name}.integers", parts[2]], [f"{output}.sums"]),
            helper.make_node("Cast", [f"{output}.sums"], [f"{output}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [parts[1], f"{name}.scale"], [f"{output}.scale"]),
            helper.make_node("Mul", [f"{output}.float", f"{output}.scale"], [output]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
