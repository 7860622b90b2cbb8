"""The lengths and positions of each row of a run, computed from the attention mask.

Rows of a batch have different lengths. Row i of the mask is 1 for the past and the new tokens of row i.
"""

from dataclasses import dataclass

import numpy as np

from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import INT32, INT64

PREFIX = "onward/"
"""Names of added values begin with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowValues:
    """The names of the values."""

    last_positions: str
    """(B,) int32, the position of the last new token, which GroupQueryAttention calls `seqlens_k`."""
    total: str
    """() int32, the width of the mask."""
    width: str
    """() int64, the same."""
    positions: str
    """(B, S) int64, the positions of the new tokens."""

    @classmethod
    def add_to(cls, graph: Graph) -> "RowValues":
        """Adds the nodes that compute them."""
        mask = "attention_mask"
        if graph.input_type(mask).element_type != INT64:
            mask = graph.compute("Cast", [mask], f"{PREFIX}mask", to=INT64)
        zero, one = (graph.add_constant(f"{PREFIX}{value}", np.array(value, np.int64)) for value in (0, 1))
        column = graph.add_constant(f"{PREFIX}column", np.array([-1, 1], np.int64))
        lengths = _row_sums(graph, mask)
        last = graph.compute("Sub", [lengths, one], f"{PREFIX}last_positions")
        width = _length_of_second_axis(graph, mask, "width")
        num_new = _length_of_second_axis(graph, "input_ids", "num_new")
        starts = graph.compute("Sub", [lengths, num_new], f"{PREFIX}starts")
        starts = graph.compute("Reshape", [starts, column], f"{PREFIX}starts_column")
        offsets = graph.compute("Range", [zero, num_new, one], f"{PREFIX}offsets")
        return cls(
            last_positions=graph.compute("Cast", [last], f"{PREFIX}seqlens_k", to=INT32),
            total=graph.compute("Cast", [width], f"{PREFIX}total", to=INT32),
            width=width,
            positions=graph.compute("Add", [starts, offsets], f"{PREFIX}positions"),
        )

    def distances(self, graph: Graph, element_type: int) -> str:
        """(B, 1, S, T), the position of each token less that of each new token: at most 0 where unmasked."""
        name = f"{PREFIX}distances"
        if graph.producer(name) is None:
            column = graph.add_constant(f"{PREFIX}columns", np.array([0, 1, -1, 1], np.int64))
            new = graph.compute("Reshape", [self.positions, column], f"{PREFIX}positions_column")
            every = graph.compute("Range", [f"{PREFIX}0", self.width, f"{PREFIX}1"], f"{PREFIX}all_positions")
            graph.compute("Cast", [graph.compute("Sub", [every, new], f"{name}/int64")], name, to=element_type)
        return name


def _row_sums(graph: Graph, name: str) -> str:
    if graph.opset < 13:  # the axes became an input then
        return graph.compute("ReduceSum", [name], f"{PREFIX}lengths", axes=[1], keepdims=0)
    axis = graph.add_constant(f"{PREFIX}axis", np.array([1], np.int64))
    return graph.compute("ReduceSum", [name, axis], f"{PREFIX}lengths", keepdims=0)


def _length_of_second_axis(graph: Graph, name: str, output: str) -> str:
    shape = graph.compute("Shape", [name], f"{PREFIX}{output}_shape")
    return graph.compute("Gather", [shape, f"{PREFIX}1"], f"{PREFIX}{output}", axis=0)
