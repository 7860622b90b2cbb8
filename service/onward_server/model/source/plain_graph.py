"""Recognizes graphs that can neither take much memory nor run for long, because of the operators they are made of.

ONNX can describe a tensor of terabytes in fifty bytes, and an endless loop. A plain graph has no operator that makes a
tensor from numbers (such as Expand, Range or Tile), no loop, no function, and constants only where weights belong.
Its tensors then have one row for each token, as wide as a weight at most:

- Elementwise operators broadcast constants of one axis or one element. They broadcast nothing else, because no operator
  before them changes the axes of a tensor.
- A result of Reshape or If goes where its axes make no difference to the size of the output.
- Gather looks up the tokens of the prompt, or a few constant positions.

Most exports for GroupQueryAttention are plain. That a graph is not plain says nothing against it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from onward_server.model.source.onnx_file import Constant, Node, OnnxFile

_MAX_NODES = 20_000
_FEW = 8

_KEEPS_SIZE = frozenset(
    {
        "Cast",
        "FastGelu",
        "Gelu",
        "Identity",
        "Neg",
        "QuickGelu",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Shape",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Split",
        "Sqrt",
        "Tanh",
    }
)
"""Operators whose outputs are not larger than their first input, whatever the others are."""
_ELEMENTWISE = frozenset(
    {"Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Pow", "Sub"}
)
_AFTER_RESHAPE = frozenset(
    {
        "GatherBlockQuantized",
        "GroupQueryAttention",
        "LayerNormalization",
        "Reshape",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
    }
)
_AFTER_IF = frozenset({"GroupQueryAttention", "RotaryEmbedding"})
_WEIGHTS: Mapping[str, Collection[int]] = {
    "Gather": (0, 1),
    "GatherBlockQuantized": (0, 2, 3),
    "Gemm": (1, 2),
    "GroupQueryAttention": (7, 8, 11),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
    "MatMulNBits": (1, 2, 3, 4, 5),
    "MoE": range(2, 8),
    "QMoE": range(2, 15),
    "ReduceMean": (1,),
    "ReduceSum": (1,),
    "Reshape": (0, 1),
    "RotaryEmbedding": (2, 3),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3, 4),
    "SkipSimplifiedLayerNormalization": (2, 3),
    "Split": (1,),
    "Transpose": (0,),
}
"""The inputs that may be constants of any size. Operators that are in no table of this module are not plain."""


def is_plain(onnx_file: OnnxFile) -> bool:
    """Whether loading and running a graph takes no more memory and time than its weights and the prompt justify."""
    if onnx_file.grows_when_loaded or len(onnx_file.nodes) > _MAX_NODES:
        return False
    return all(_Rules(onnx_file).allow(node) for node in onnx_file.nodes)


@dataclass(frozen=True, slots=True)
class _Rules:
    graph: OnnxFile

    def allow(self, node: Node) -> bool:
        constants = {
            index: constant
            for index, name in enumerate(node.inputs)
            if (constant := self.graph.constants.get(name)) is not None
        }
        match node.op_type:
            case "Constant":
                is_allowed = not node.inputs
            case "If":
                is_allowed = self._goes_only_to(node, _AFTER_IF)
            case "Reshape":
                is_allowed = self._goes_only_to(node, _AFTER_RESHAPE)
            case "Transpose":
                is_allowed = 0 in constants
            case "Gather" | "GatherBlockQuantized":
                is_allowed = self._looks_up_tokens(node, constants)
            case name if name in _ELEMENTWISE:
                return all(constant.rank <= 1 or constant.num_elements == 1 for constant in constants.values())
            case name:
                is_allowed = name in _WEIGHTS or name in _KEEPS_SIZE
        return is_allowed and set(constants) <= set(_WEIGHTS.get(node.op_type, ()))

    def _goes_only_to(self, node: Node, op_types: frozenset[str]) -> bool:
        return all(self.graph.readers(name) <= op_types for name in node.outputs)

    def _looks_up_tokens(self, node: Node, constants: Mapping[int, Constant]) -> bool:
        if len(node.inputs) < 2:
            return False
        positions = constants.get(1)
        return node.inputs[1] in self.graph.inputs if positions is None else positions.num_elements <= _FEW
