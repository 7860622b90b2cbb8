"""Small ONNX models that take much memory or never end, made from the tiny model."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from testing.tiny_model import write_tiny_model

Edit = Callable[[onnx.ModelProto], None]
_EVIL = "evil"


def write_bomb(folder: Path, edit: Edit) -> Path:
    """Writes the tiny model with an addition to its logits, and returns its folder."""
    path = write_tiny_model(folder) / "model.onnx"
    model = onnx.ModelProto.FromString(path.read_bytes())
    edit(model)
    path.write_bytes(model.SerializeToString())
    return folder


def add_to_logits(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], value: str, **constants: object) -> None:
    """Adds `nodes` in front of the others, and zero times the mean of `value` to the logits."""
    graph = model.graph
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[:] = ["logits/before" if name == "logits" else name for name in last.output]
    arrays = {name: np.asarray(array) for name, array in constants.items()}
    arrays["bomb/zero"] = np.array(0, np.float32)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    after = [
        helper.make_node("ReduceMean", [value], ["bomb/mean"], keepdims=0),
        helper.make_node("Mul", ["bomb/mean", "bomb/zero"], ["bomb/nothing"]),
        helper.make_node("Add", ["logits/before", "bomb/nothing"], ["logits"]),
    ]
    nodes = [*nodes, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def _shape(*sizes: int) -> npt.NDArray[np.int64]:
    return np.array(sizes, np.int64)


def constant_of_shape(model: onnx.ModelProto) -> None:
    """4 GiB when ONNX Runtime folds constants."""
    nodes = [helper.make_node("ConstantOfShape", ["bomb/shape"], ["bomb"])]
    add_to_logits(model, nodes, "bomb", **{"bomb/shape": _shape(1 << 15, 1 << 15)})


def expand(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Expand", ["bomb/one", "bomb/shape"], ["bomb"])]
    constants = {"bomb/one": np.ones((1, 1), np.float32), "bomb/shape": _shape(1 << 15, 1 << 15)}
    add_to_logits(model, nodes, "bomb", **constants)


def tiles(model: onnx.ModelProto) -> None:
    """A thousand times as much in each of three nodes."""
    names = ["bomb/one", "bomb/1", "bomb/2", "bomb"]
    nodes = [helper.make_node("Tile", [before, "bomb/repeats"], [after]) for before, after in pairwise(names)]
    add_to_logits(model, nodes, "bomb", **{"bomb/one": np.ones(1, np.float32), "bomb/repeats": _shape(1 << 10)})


def numbers(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Range", ["bomb/0", "bomb/end", "bomb/1"], ["bomb"])]
    constants = {f"bomb/{name}": np.float32(value) for name, value in (("0", 0), ("end", 2**31), ("1", 1))}
    add_to_logits(model, nodes, "bomb", **constants)


def outer_product(model: onnx.ModelProto) -> None:
    """Two vectors are multiplied to a matrix of 4 GiB."""
    nodes = [helper.make_node("Mul", ["bomb/column", "bomb/row"], ["bomb"])]
    column = np.ones((1 << 15, 1), np.float32)
    add_to_logits(model, nodes, "bomb", **{"bomb/column": column, "bomb/row": column.T})


def product_of_the_prompt(model: onnx.ModelProto) -> None:
    """A tensor that is large only when the model runs."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bomb/ids"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["bomb/ids", "bomb/axis"], ["bomb/column"]),
        helper.make_node("Mul", ["bomb/column", "bomb/row"], ["bomb/wide"]),
        helper.make_node("Unsqueeze", ["bomb/wide", "bomb/axis"], ["bomb/wide_column"]),
        helper.make_node("Mul", ["bomb/wide_column", "bomb/row"], ["bomb"]),
    ]
    add_to_logits(model, nodes, "bomb", **{"bomb/axis": _shape(-1), "bomb/row": np.ones(1 << 15, np.float32)})


def power_of_the_prompt(model: onnx.ModelProto) -> None:
    """A tensor with six axes as long as the prompt, so it takes little for a few tokens."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bomb/0"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["bomb/0", "bomb/axis"], ["bomb/row"]),
    ]
    for index in range(5):
        nodes.append(helper.make_node("Unsqueeze", [f"bomb/{index}", "bomb/axis"], [f"bomb/column{index}"]))
        nodes.append(helper.make_node("Mul", [f"bomb/column{index}", "bomb/row"], [f"bomb/{index + 1}"]))
    add_to_logits(model, nodes, "bomb/5", **{"bomb/axis": _shape(-1)})


def lookups(model: onnx.ModelProto) -> None:
    """Rows of a table, looked up by the numbers in such rows."""
    nodes = [
        helper.make_node("Gather", ["bomb/table", "input_ids"], ["bomb/rows"]),
        helper.make_node("Gather", ["bomb/table", "bomb/rows"], ["bomb/more"]),
        helper.make_node("Gather", ["bomb/table", "bomb/more"], ["bomb/most"]),
        helper.make_node("Cast", ["bomb/most"], ["bomb"], to=TensorProto.FLOAT),
    ]
    add_to_logits(model, nodes, "bomb", **{"bomb/table": np.zeros((512, 1024), np.int64)})


def reshaped_rows(model: onnx.ModelProto) -> None:
    """A result of Reshape that a norm passes on to a product of its rows and columns."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bomb/x"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["bomb/x", "bomb/shape"], ["bomb/column"]),
        helper.make_node("SimplifiedLayerNormalization", ["bomb/column", "bomb/scale"], ["bomb/norm"]),
        helper.make_node("Mul", ["bomb/norm", "bomb/row"], ["bomb"]),
    ]
    constants = {
        "bomb/shape": _shape(-1, 1, 1),
        "bomb/scale": np.ones(1, np.float32),
        "bomb/row": np.ones(9, np.float32),
    }
    add_to_logits(model, nodes, "bomb", **constants)


def stacked_weights(model: onnx.ModelProto) -> None:
    """A product with a weight that has more axes, which adds them to the result."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bomb/x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bomb/x", "bomb/0"], ["bomb/y"]),
        helper.make_node("ReduceMean", ["bomb/y"], ["bomb/column"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["bomb/column", "bomb/stack"], ["bomb"]),
    ]
    constants = {"bomb/0": np.float32(0), "bomb/stack": np.ones((9, 1, 1, 1), np.float32)}
    add_to_logits(model, nodes, "bomb", **constants)


def lookup_along_another_axis(model: onnx.ModelProto) -> None:
    """A lookup that puts the size of a vocabulary in front of the tokens."""
    nodes = [helper.make_node("Gather", ["bomb/table", "input_ids"], ["bomb"], axis=1)]
    add_to_logits(model, nodes, "bomb", **{"bomb/table": np.zeros((9, 512), np.float32)})


def lookup_in_the_prompt(model: onnx.ModelProto) -> None:
    """A lookup in what depends on the prompt, which adds an axis of its length each time."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["bomb/x"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["bomb/x", "input_ids"], ["bomb"]),
    ]
    add_to_logits(model, nodes, "bomb")


def long_if(model: onnx.ModelProto) -> None:
    """A branch that makes a large tensor."""
    branches = [
        helper.make_graph(
            [helper.make_node("ConstantOfShape", ["bomb/shape"], [f"bomb/{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"bomb/{name}", TensorProto.FLOAT, [1 << 15, 1 << 15])],
        )
        for name in ("then", "else")
    ]
    nodes = [helper.make_node("If", ["bomb/yes"], ["bomb"], then_branch=branches[0], else_branch=branches[1])]
    add_to_logits(model, nodes, "bomb", **{"bomb/yes": np.array([True])[0], "bomb/shape": _shape(1 << 15, 1 << 15)})


def endless_loop(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["bomb/go_on"], ["bomb/still"]),
            helper.make_node("Identity", ["bomb/x"], ["bomb/y"]),
        ],
        "body",
        [
            value("bomb/count", TensorProto.INT64, []),
            value("bomb/go_on", TensorProto.BOOL, []),
            value("bomb/x", TensorProto.FLOAT, []),
        ],
        [value("bomb/still", TensorProto.BOOL, []), value("bomb/y", TensorProto.FLOAT, [])],
    )
    nodes = [helper.make_node("Loop", ["bomb/trips", "bomb/yes", "bomb/0"], ["bomb"], body=body)]
    constants = {"bomb/trips": np.int64(1 << 62), "bomb/yes": np.array([True])[0], "bomb/0": np.float32(0)}
    add_to_logits(model, nodes, "bomb", **constants)


def doubling_functions(model: onnx.ModelProto) -> None:
    """Each function calls the one before twice, so that inlining them gives 2^30 nodes."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(_EVIL, 1)]
    model.opset_import.append(imports[1])
    bodies = [[helper.make_node("Neg", ["x"], ["y"])]]
    bodies += [
        [
            helper.make_node(f"f{index}", ["x"], ["t"], domain=_EVIL),
            helper.make_node(f"f{index}", ["t"], ["y"], domain=_EVIL),
        ]
        for index in range(30)
    ]
    model.functions.extend(
        helper.make_function(_EVIL, f"f{index}", ["x"], ["y"], body, imports) for index, body in enumerate(bodies)
    )
    nodes = [helper.make_node("f30", ["bomb/0"], ["bomb"], domain=_EVIL)]
    add_to_logits(model, nodes, "bomb", **{"bomb/0": np.float32(0)})


def slow_constants(model: onnx.ModelProto) -> None:
    """Products of matrices that fit in memory, and take minutes to fold."""
    names = ["bomb/square", *(f"bomb/{index}" for index in range(200))]
    nodes = [helper.make_node("ConstantOfShape", ["bomb/shape"], ["bomb/square"])]
    nodes += [helper.make_node("MatMul", [before, "bomb/square"], [after]) for before, after in pairwise(names)]
    add_to_logits(model, nodes, names[-1], **{"bomb/shape": _shape(3000, 3000)})


def sparse(model: onnx.ModelProto) -> None:
    """One value, in a dense tensor of 1.5 GiB."""
    value = helper.make_tensor("bomb", TensorProto.FLOAT, [1], [1.0])
    index = helper.make_tensor("bomb/index", TensorProto.INT64, [1], [5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(value, index, [3 << 13, 1 << 14]))
    add_to_logits(model, [], "bomb")


MEMORY_BOMBS: Mapping[str, Edit] = {
    edit.__name__: edit
    for edit in (
        constant_of_shape,
        expand,
        tiles,
        numbers,
        outer_product,
        product_of_the_prompt,
        power_of_the_prompt,
        lookups,
        long_if,
        sparse,
    )
}
GROWING: Mapping[str, Edit] = {
    edit.__name__: edit for edit in (reshaped_rows, stacked_weights, lookup_along_another_axis, lookup_in_the_prompt)
}
"""Parts that are harmless in these sizes, and could be repeated in large ones."""
TIME_BOMBS: Mapping[str, Edit] = {edit.__name__: edit for edit in (endless_loop, doubling_functions, slow_constants)}
