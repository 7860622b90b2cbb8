"""Makes the positions of tokens those of each row, where a graph counts them from the length of its past."""

import numpy as np

from onward_server.model.rewriting.graph import CONTRIB, Graph, NotEvaluable, Sizes
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.rows import PREFIX, RowValues

_PROBES = (Sizes(batch=2, new=3, past=5), Sizes(batch=2, new=4, past=9))


def count_by_row(graph: Graph, rows: RowValues) -> None:
    """Replaces positions that are the same in each row.

    Raises:
        NotRewritable: Something else than attention and positions depends on the past.
    """
    for num_axes in (2, 1):
        for name in _dependent(graph, num_axes):
            first = _first_position(graph, name, num_axes)
            if first is not None:
                graph.replace_uses(name, _shifted(graph, rows, first))
    if left := _dependent(graph, 0):
        raise NotRewritable(f"the graph computes {left[-1]} from the past in a way that is not recognized")


def _dependent(graph: Graph, num_axes: int) -> list[str]:
    """Values that depend on the past or on the mask, other than through attention, up to positions."""
    names = {name for name in (*graph.inputs, *graph.outputs) if name.startswith(("past", "present"))}
    names.add("attention_mask")
    found: list[str] = []
    for node in graph.nodes():
        if node.domain == CONTRIB or node.output[0].startswith(PREFIX) or names.isdisjoint(node.input):
            continue
        found += node.output
        if num_axes == 0 or _first_position(graph, node.output[0], num_axes) is None:
            names |= set(node.output)
    return found


def _first_position(graph: Graph, name: str, num_axes: int) -> int | None:
    """The position that a value gives to the first token; None if it does not count positions."""
    firsts: set[int] = set()
    for sizes in _PROBES:
        positions = np.arange(sizes.past, sizes.total)
        mask = np.ones((sizes.batch, sizes.total), np.int64)
        try:
            value = graph.evaluate([name], {"attention_mask": mask}, sizes)[0]
        except NotEvaluable:
            return None
        if value.dtype.kind != "i" or value.ndim != num_axes or value.shape[-1:] != positions.shape:
            return None
        shifts = np.unique(value.astype(np.int64) - positions)
        if len(shifts) != 1:
            return None
        firsts.add(int(shifts[0]))
    return firsts.pop() if len(firsts) == 1 else None


def _shifted(graph: Graph, rows: RowValues, first: int) -> str:
    if first == 0:
        return rows.positions
    shift = graph.add_constant(f"{PREFIX}{first}", np.array(first, np.int64))
    name = f"{PREFIX}positions_from_{first}"
    return name if graph.producer(name) else graph.compute("Add", [rows.positions, shift], name)
