"""Makes a graph look up positions in whole tables, where it first cuts the tables to the number of tokens so far.

With slots, that number would be the capacity of a slot. The whole table has every position of the context.
"""

import numpy as np

from onward_server.model.rewriting.graph.evaluation import NotEvaluable
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import Node, Sizes

_PROBES = (Sizes(batch=2, new=3, past=5), Sizes(batch=2, new=4, past=9))
_RESHAPES = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze"})


def read_whole_tables(graph: Graph) -> None:
    """Replaces each table that is cut to the number of past and new tokens by the whole one."""
    slices = [node for node in graph.nodes() if node.op_type == "Slice"]
    for node in [each for each in slices if _ends_at_total(graph, each) and _is_looked_up(graph, each.output[0])]:
        graph.replace_uses(node.output[0], node.input[0])


def _ends_at_total(graph: Graph, node: Node) -> bool:
    """Whether a Slice cuts one axis of a constant to the number of past and new tokens."""
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
    """Whether only Gather reads a table, which takes its rows by their positions."""
    for node in graph.consumers(name):
        if node.op_type in _RESHAPES:
            if not _is_looked_up(graph, node.output[0]):
                return False
        elif node.op_type != "Gather" or node.input[0] != name:
            return False
    return True
