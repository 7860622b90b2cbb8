"""Reads position tables whole, where a graph cuts them to the length of the past and then looks positions up.

With slots, the length of the past is the capacity of a slot. A table is as long as the context, so it is enough for any
position, and what it is cut to does not matter.
"""

import numpy as np

from onward_server.model.rewriting.graph.evaluation import NotEvaluable
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import Node, Sizes

_PROBES = (Sizes(batch=2, new=3, past=5), Sizes(batch=2, new=4, past=9))
_RESHAPES = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze"})


def read_whole_tables(graph: Graph) -> None:
    """Replaces tables that end at the number of past and new tokens."""
    slices = [node for node in graph.nodes() if node.op_type == "Slice"]
    for node in [each for each in slices if _ends_at_total(graph, each) and _is_looked_up(graph, each.output[0])]:
        graph.replace_uses(node.output[0], node.input[0])


def _ends_at_total(graph: Graph, node: Node) -> bool:
    """Whether a Slice takes from one axis of a constant what lies before the total length."""
    start = graph.constant(node.input[1])
    step = graph.constant(node.input[4]) if len(node.input) > 4 else np.array([1])
    if start is None or start.tolist() != [0] or step is None or step.tolist() != [1]:
        return False
    return graph.is_constant(node.input[0]) and all(
        _length(graph, node.input[2], each) == each.total for each in _PROBES
    )


def _length(graph: Graph, name: str, sizes: Sizes) -> int | None:
    mask = np.ones((sizes.batch, sizes.total), np.int64)
    try:
        value = graph.evaluate([name], {"attention_mask": mask}, sizes)[0]
    except NotEvaluable:
        return None
    return int(value.flat[0]) if value.size == 1 else None


def _is_looked_up(graph: Graph, name: str) -> bool:
    """Whether all that reads a table is Gather, which takes rows of it by their positions."""
    for node in graph.consumers(name):
        if node.op_type in _RESHAPES:
            if not _is_looked_up(graph, node.output[0]):
                return False
        elif node.op_type != "Gather" or node.input[0] != name:
            return False
    return True
