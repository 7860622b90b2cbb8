"""Gives each row its own positions, where a graph counts them from the length of the past."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from onward_server.model.rewriting.graph.evaluation import NotEvaluable
from onward_server.model.rewriting.graph.model_graph import CONTRIB, Graph
from onward_server.model.rewriting.graph.tensor_types import INT64, Sizes, element_type_of
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.rows import PREFIX, RowValues

_PROBES = (Sizes(batch=2, new=3, past=5), Sizes(batch=2, new=4, past=9))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Positions:
    """A value that counts the positions of the new tokens, the same for each row of a run."""

    first: int
    """The position after an empty past."""
    element_type: int
    axes: tuple[int, ...]
    """The shape for Reshape to give it: 0 for the axis of rows, -1 for that of tokens, else 1."""


def count_by_row(graph: Graph, rows: RowValues) -> None:
    """Replaces positions that are the same in each row.

    Raises:
        NotRewritable: Something else than attention and positions depends on the past.
    """
    for num_axes in ((2, 3, 4), (1,)):  # a vector is replaced only if its readers do not give it an axis for rows
        for name, positions in _dependent(graph, num_axes).items():
            if positions is not None:
                graph.replace_uses(name, _by_row(graph, rows, positions))
    if left := _dependent(graph, ()):
        raise NotRewritable(f"the graph computes {next(iter(left))} from the past in a way that is not recognized")


def _dependent(graph: Graph, num_axes: Collection[int]) -> dict[str, _Positions | None]:
    """Values that depend on the past or on the mask, other than through attention, up to positions."""
    names = {name for name in (*graph.inputs, *graph.outputs) if name.startswith(("past", "present"))}
    names.add("attention_mask")
    found: dict[str, _Positions | None] = {}
    for node in graph.nodes():
        if node.domain == CONTRIB or node.output[0].startswith(PREFIX) or names.isdisjoint(node.input):
            continue
        positions = _positions(graph, node.output[0], num_axes)
        found |= dict.fromkeys(node.output, positions)
        if positions is None:
            names |= set(node.output)
    return found


def _positions(graph: Graph, name: str, num_axes: Collection[int]) -> _Positions | None:
    """How a value counts positions; None: it does not, or has another number of axes."""
    found = {_positions_in(graph, name, num_axes, sizes) for sizes in _PROBES}
    return found.pop() if len(found) == 1 else None


def _positions_in(graph: Graph, name: str, num_axes: Collection[int], sizes: Sizes) -> _Positions | None:
    mask = np.ones((sizes.batch, sizes.total), np.int64)
    try:
        value = graph.evaluate([name], {"attention_mask": mask}, sizes)[0]
    except NotEvaluable:
        return None
    if value.dtype.kind != "i" or value.ndim not in num_axes or value.size == 0:
        return None
    tokens = [axis for axis, length in enumerate(value.shape) if length == sizes.new]
    others = {length for axis, length in enumerate(value.shape) if axis and axis not in tokens}
    if len(tokens) != 1 or others - {1} or (value.ndim > 1 and tokens == [0]):
        return None
    counted = np.moveaxis(value.astype(np.int64), tokens[0], -1) - np.arange(sizes.past, sizes.total)
    if np.ptp(counted) != 0:
        return None
    axes = tuple(-1 if axis in tokens else min(axis, 1) for axis in range(value.ndim))
    return _Positions(first=int(counted.flat[0]), element_type=element_type_of(value.dtype), axes=axes)


def _by_row(graph: Graph, rows: RowValues, positions: _Positions) -> str:
    """The positions of each row, in the shape that the readers expect."""
    name, value = f"{PREFIX}positions", rows.positions
    if positions.first:
        name = f"{name}/from_{positions.first}"
        shift = graph.add_constant(f"{PREFIX}number/{positions.first}", np.array(positions.first, np.int64))
        value = _computed(graph, "Add", [value, shift], name)
    if len(positions.axes) > 2:
        name = f"{name}/{len(positions.axes)}_axes/{positions.axes.index(-1)}"
        axes = graph.add_constant(f"{name}/shape", np.array(positions.axes, np.int64))
        value = _computed(graph, "Reshape", [value, axes], name)
    if positions.element_type != INT64:
        name = f"{name}/{positions.element_type}"
        value = _computed(graph, "Cast", [value], name, to=positions.element_type)
    return value


def _computed(graph: Graph, op_type: str, inputs: list[str], name: str, **attributes: int) -> str:
    return name if graph.producer(name) else graph.compute(op_type, inputs, name, **attributes)
