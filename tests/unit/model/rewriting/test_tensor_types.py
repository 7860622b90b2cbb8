"""Types that cannot be inferred are left out."""

from onnx import ModelProto, TensorProto, helper

from onward_server.model.rewriting.graph.tensor_types import TensorType, infer_outputs


def infer(second_type: int) -> dict[str, TensorType]:
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    types = {"a": TensorType(TensorProto.FLOAT16, (2, 3)), "b": TensorType(second_type, (3, 4))}
    return infer_outputs(ModelProto(opset_import=[helper.make_opsetid("", 17)]), node, types, {})


def test_the_output_of_a_node_gets_its_type_and_shape() -> None:
    assert infer(TensorProto.FLOAT16) == {"c": TensorType(TensorProto.FLOAT16, (2, 4))}


def test_inputs_of_different_types_leave_the_output_without_a_type() -> None:
    """The error of onnx's checker ended the rewriting."""
    assert infer(TensorProto.FLOAT) == {}
