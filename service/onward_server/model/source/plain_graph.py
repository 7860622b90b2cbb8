"""Recognizes graphs that can neither take much memory nor run for long, because of the operators they are made of.

ONNX can describe a tensor of terabytes in fifty bytes, and an endless loop. A plain graph has no operator that makes a
tensor from numbers (such as Expand, Range or Tile), no loop, no function, and constants only where weights belong.
Its tensors then have one row for each token, as wide as a weight at most:

- Elementwise operators broadcast constants of one axis or one element. Other tensors have the axes of batch, token and
  width, in this order, and nothing moves the first two.
- A result of Reshape goes to norms, rotary embeddings and attention, and not to elementwise operators; that of If goes
  where its axes make no difference to the size of the output.
- Gather looks up the tokens of the prompt in a table of two axes, or a few constant positions. The axis that it takes
  away from a single position may be put back for the product that gives the logits.

Most exports for GroupQueryAttention are plain. A graph that is not plain may still be harmless.
"""

from collections.abc import Collection, Mapping

from onward_server.model.source.onnx_file import Constant, Node, OnnxFile

_MAX_NODES = 20_000
_FEW = 8

_KEEPS_SIZE = frozenset(
    {
        "Cast",
        "FastGelu",
        "Gelu",
        "Identity",
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
"""Operators whose outputs are not larger than their first input, whatever their other inputs are."""
_ELEMENTWISE = frozenset(
    {"Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mul", "Pow", "Sub"}
)
_AFTER_RESHAPE = frozenset(
    {
        "GroupQueryAttention",
        "LayerNormalization",
        "Reshape",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
    }
)
_AFTER_IF = frozenset({"GroupQueryAttention", "RotaryEmbedding"})
_AFTER_UNSQUEEZE = frozenset({"Cast", "MatMul", "MatMulNBits"})
_WEIGHTS: Mapping[str, Collection[int]] = {
    "FusedMatMul": (1,),
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
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Transpose": (0,),
    "Unsqueeze": (1,),
}
"""The inputs that may be constants of any size. Operators that are in no table of this module are not plain."""


def is_plain(onnx_file: OnnxFile) -> bool:
    """Whether loading and running a graph takes no more memory and time than its weights and the prompt justify."""
    if onnx_file.grows_when_loaded or len(onnx_file.nodes) > _MAX_NODES:
        return False
    return all(map(_Rules(onnx_file).allow, onnx_file.nodes))


class _Rules:
    def __init__(self, onnx_file: OnnxFile) -> None:
        self._graph = onnx_file
        self._readers: dict[str, list[Node]] = {}
        self._tables: set[str] = set()
        """Constants of two axes, as they are or as results of Reshape and Transpose."""
        self._rows = {
            name
            for node in onnx_file.nodes
            if node.op_type == "Gather" and 1 in (constants := self._constants(node)) and constants[1].rank == 0
            for name in node.outputs
        }
        """What Gather takes from one position."""
        self._among: dict[frozenset[str], set[str]] = {}
        """Values of which `_stays_among` has found that only these operators follow."""
        for node in onnx_file.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._tables |= {name for name, constant in onnx_file.constants.items() if constant.rank <= 2}
        for node in onnx_file.nodes:
            if (node.op_type == "Transpose" and self._is_matrix(node)) or (
                node.op_type == "Reshape" and self._is_table(node)
            ):
                self._tables |= set(node.outputs)

    def allow(self, node: Node) -> bool:
        constants = self._constants(node)
        match node.op_type:
            case "Constant":
                is_allowed = not node.inputs
            case "If":
                is_allowed = self._stays_among(node, _AFTER_IF)
            case "Reshape":
                is_allowed = self._is_table(node) or self._stays_among(node, _AFTER_RESHAPE)
            case "Transpose":
                is_allowed = self._is_matrix(node)
            case "Unsqueeze":
                is_allowed = self._puts_axis_back(node)
            case "Gather" | "GatherBlockQuantized":
                is_allowed = self._looks_up_tokens(node, constants.get(1))
            case "FusedMatMul" | "MatMul":
                is_allowed = not node.moves_axes and all(constant.rank <= 2 for constant in constants.values())
            case "Neg":
                return all(constant.num_elements == 1 for constant in constants.values())
            case name if name in _ELEMENTWISE:
                return all(constant.rank <= 1 or constant.num_elements == 1 for constant in constants.values())
            case name:
                is_allowed = name in _WEIGHTS or name in _KEEPS_SIZE
        return is_allowed and set(constants) <= set(_WEIGHTS.get(node.op_type, ()))

    def _constants(self, node: Node) -> dict[int, Constant]:
        constants = {index: self._graph.constants.get(name) for index, name in enumerate(node.inputs)}
        return {index: constant for index, constant in constants.items() if constant is not None}

    def _is_matrix(self, transpose: Node) -> bool:
        """Whether a Transpose reads a constant of two axes."""
        constants = self._constants(transpose)
        return 0 in constants and constants[0].rank <= 2

    def _puts_axis_back(self, unsqueeze: Node) -> bool:
        """Whether an Unsqueeze reads what Gather took from one position, and nothing but the logits follow from it."""
        return not self._rows.isdisjoint(unsqueeze.inputs) and self._stays_among(unsqueeze, _AFTER_UNSQUEEZE)

    def _is_table(self, reshape: Node) -> bool:
        """Whether a Reshape makes a table with two axes of a constant, and nothing but lookups read it."""
        constants = self._constants(reshape)
        is_table = set(constants) == {0, 1} and constants[1].num_elements <= 2
        return is_table and self._stays_among(reshape, frozenset({"GatherBlockQuantized"}), is_end=True)

    def _stays_among(self, node: Node, op_types: frozenset[str], *, is_end: bool = False) -> bool:
        """Whether only certain operators read the outputs of a node, and those of its readers before the attention."""
        seen = set[str]() if is_end else self._among.setdefault(op_types, set())
        names = list(node.outputs)
        while names:
            name = names.pop()
            if name in seen:
                continue
            seen.add(name)
            for reader in self._readers.get(name, ()):
                if reader.op_type not in op_types:
                    return False
                if not is_end and reader.op_type != "GroupQueryAttention":
                    names += reader.outputs
        return True

    def _looks_up_tokens(self, node: Node, positions: Constant | None) -> bool:
        if positions is not None:
            return positions.num_elements <= _FEW and positions.rank <= 1
        is_lookup = len(node.inputs) >= 2 and node.axis == 0 and node.inputs[1] in self._graph.inputs
        return is_lookup and node.inputs[0] in self._tables
