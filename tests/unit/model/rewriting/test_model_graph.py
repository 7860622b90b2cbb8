"""Searching, evaluating and changing a graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onward_server.model.rewriting.graph.evaluation import NotEvaluable
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import Sizes

SIZES = Sizes(batch=2, new=3, past=5)
NODES = [
    helper.make_node("Gather", ["table", "input_ids"], ["hidden"]),
    helper.make_node("Shape", ["hidden"], ["shape"]),
    helper.make_node("Gather", ["shape", "one"], ["length"]),
    helper.make_node("Add", ["length", "one"], ["next"]),
    helper.make_node("Relu", ["hidden"], ["unused"]),
    helper.make_node("MatMulNBits", ["hidden", "table"], ["wide"], domain="com.microsoft", K=4, N=32, bits=4),
    helper.make_node("Shape", ["wide"], ["wide_shape"], start=2),
    helper.make_node("MatMul", ["hidden", "matrix"], ["logits"]),
]
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


def graph_of(nodes: list[onnx.NodeProto], folder: Path) -> Graph:
    table = np.arange(40, dtype=np.float32).reshape(10, 4)
    matrix = np.ones((4, 2048), np.float32)
    (folder / "weights").write_bytes(b"head" + matrix.tobytes())
    external = TensorProto(name="matrix", dims=matrix.shape, data_type=TensorProto.FLOAT)
    external.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights", "offset": "4", "length": str(matrix.nbytes)}.items():
        external.external_data.add(key=key, value=value)
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(1), "one"), external]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "new"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "new", 2048])]
    if any("wide_shape" in node.output for node in nodes):
        outputs.append(helper.make_tensor_value_info("wide_shape", TensorProto.INT64, [1]))
    model = helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, weights), opset_imports=OPSETS)
    return Graph.parse(model.SerializeToString(), folder)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return graph_of(NODES, tmp_path)


def test_a_value_that_follows_from_shapes_is_evaluated_without_the_tokens(graph: Graph) -> None:
    assert graph.evaluate(["next"], {}, SIZES)[0].tolist() == 4


def test_the_shape_of_an_operator_of_onnx_runtime_is_known(graph: Graph) -> None:
    assert graph.evaluate(["wide_shape"], {}, SIZES)[0].tolist() == [32]


def test_a_value_that_depends_on_the_tokens_is_not_evaluated(graph: Graph) -> None:
    with pytest.raises(NotEvaluable, match="depends on input_ids"):
        graph.evaluate(["logits"], {}, SIZES)


def test_a_given_value_replaces_what_computes_it_and_external_weights_are_read(graph: Graph) -> None:
    (logits,) = graph.evaluate(["logits"], {"hidden": np.full((1, 1, 4), 2, np.float32)}, SIZES)
    assert logits.shape == (1, 1, 2048)
    assert np.unique(logits).tolist() == [8.0]


def test_pruning_keeps_what_an_output_needs_in_an_order_that_runs(graph: Graph) -> None:
    graph.compute("Neg", ["hidden"], "negative")
    graph.replace_uses("hidden", "negative")
    graph.compute("Identity", ["table"], "left")
    negative = graph.producer("negative")
    assert negative is not None
    negative.input[0] = "hidden"
    graph.prune()
    model = onnx.load_from_string(graph.serialize())
    computed = {"input_ids", *(tensor.name for tensor in model.graph.initializer)}
    for node in model.graph.node:
        assert computed.issuperset(node.input)
        computed.update(node.output)
    assert {node.op_type for node in model.graph.node} == {"Gather", "Neg", "MatMul", "MatMulNBits", "Shape"}
    assert {tensor.name for tensor in model.graph.initializer} == {"table", "matrix"}


def test_a_graph_with_a_cycle_is_walked_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["second", "matrix"], ["first"]),
        helper.make_node("Neg", ["first"], ["second"]),
        helper.make_node("Identity", ["second"], ["logits"]),
    ]
    assert len(graph_of(nodes, tmp_path).nodes()) == 3


def test_a_node_that_also_reads_a_value_in_its_subgraph_still_reads_it_after_a_replacement(tmp_path: Path) -> None:
    inside = [helper.make_node("Identity", ["flag"], ["inner"])]
    branch = helper.make_graph(inside, "branch", [], [helper.make_tensor_value_info("inner", TensorProto.BOOL, [])])
    choice = helper.make_node("If", ["flag"], ["chosen"], then_branch=branch, else_branch=branch)
    graph = graph_of([*NODES, helper.make_node("Cast", ["one"], ["flag"], to=TensorProto.BOOL), choice], tmp_path)

    graph.replace_uses("flag", "other")

    assert [list(node.output) for node in graph.consumers("flag")] == [["chosen"]]
    assert [list(node.output) for node in graph.consumers("other")] == [["chosen"]]
