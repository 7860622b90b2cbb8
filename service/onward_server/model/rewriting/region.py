"""Finds where the attention of a layer lies in a graph.

Every decomposed attention has the same skeleton, whatever an exporter writes in between:

    keys   = Concat(past key, new key)      scores = MatMul(query, keys)     weights = Softmax(logits)
    values = Concat(past value, new value)  logits = a function of scores    mixed   = MatMul(weights, values)
"""

from collections.abc import Iterator
from dataclasses import dataclass

from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import Node, Sizes
from onward_server.model.rewriting.refusal import NotRewritable

_RENAMES = frozenset({"Cast", "Identity"})
_MOVES = _RENAMES | {"Expand", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
_SCALES = frozenset({"Div", "Mul"})
PROBE = Sizes(batch=2, new=3, past=5)
"""A short run, in which no two lengths are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInput:
    """Where the new keys or values of a layer are appended to the past ones."""

    past: str
    new: str
    whole: str
    """The past and the new ones, as attention reads them."""
    present: str
    """The output of the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The names of the values in the attention of a layer."""

    layer: int
    query: str
    """(B, H, S, D), before it is scaled."""
    keys: CacheInput
    values: CacheInput
    scores: str
    logits: str
    """What Softmax reads."""
    tanh: str | None
    """What Tanh reads, if the scores are capped."""
    outputs: tuple[str, ...]
    """Candidates for the output (B, S, H * D), in the order of computation."""

    @classmethod
    def find(cls, graph: Graph, layer: int) -> "Region":
        """Finds it, from the inputs of the layer's cache.

        Raises:
            NotRewritable: The layer does not have the skeleton.
        """
        keys, values = (_cache_input(graph, layer, side) for side in ("key", "value"))
        scores, mixed = (_product(graph, layer, cache) for cache in (keys, values))
        softmaxes = _operator_above(graph, "Softmax", mixed.input[0])
        if len(softmaxes) != 1:
            raise NotRewritable(f"{len(softmaxes)} Softmax weight the values of layer {layer}; attention has one")
        logits = softmaxes[0].input[0]
        tanhs = _operator_above(graph, "Tanh", logits)
        if len(tanhs) > 1:
            raise NotRewritable(f"the scores of layer {layer} pass through {len(tanhs)} Tanh; a soft cap is one")
        return cls(
            layer=layer,
            query=_query(graph, scores.input[0]),
            keys=keys,
            values=values,
            scores=scores.output[0],
            logits=logits,
            tanh=tanhs[0].input[0] if tanhs else None,
            outputs=tuple(_moved(graph, mixed.output[0])),
        )


def _cache_input(graph: Graph, layer: int, side: str) -> CacheInput:
    past, present = f"past_key_values.{layer}.{side}", f"present.{layer}.{side}"
    concats = [(node, name) for node, name in _readers(graph, past, through=_RENAMES) if node.op_type == "Concat"]
    if len(concats) != 1 or list(concats[0][0].input).index(concats[0][1]) != 0 or len(concats[0][0].input) != 2:
        raise NotRewritable(f"{past} is not the first of two parts of one Concat")
    concat = concats[0][0]
    if len(graph.input_type(past).shape or ()) != 4 or not _is_on_lengths(concat):
        raise NotRewritable(f"{past} does not have the axes batch, heads, length and head size")
    whole = concat.output[0]
    if present not in {whole, *(each for node, _ in _readers(graph, whole, through=_RENAMES) for each in node.output)}:
        raise NotRewritable(f"{present} is not {past} with the new tokens after it")
    return CacheInput(past=past, new=concat.input[1], whole=whole, present=present)


def _is_on_lengths(concat: Node) -> bool:
    return any(attribute.name == "axis" and attribute.i in (2, -2) for attribute in concat.attribute)


def _product(graph: Graph, layer: int, cache: CacheInput) -> Node:
    """The product that reads the whole keys or values."""
    products = {
        node.output[0]: (node, name)
        for node, name in _readers(graph, cache.whole, through=_MOVES | _SCALES)
        if node.op_type == "MatMul"
    }
    if len(products) != 1:
        raise NotRewritable(f"{len(products)} products read {cache.present} in layer {layer}; attention has one")
    node, name = next(iter(products.values()))
    if node.input[1] != name:
        raise NotRewritable(f"{cache.present} is not the second factor of its product in layer {layer}")
    return node


def _operator_above(graph: Graph, op_type: str, name: str) -> list[Node]:
    """The nearest operators of a type from which a value is computed, up to the next product."""
    names, seen, found = [name], {name}, list[Node]()
    while names:
        node = graph.producer(names.pop())
        if node is None or node.op_type in ("MatMul", "Shape"):
            continue
        if node.op_type == op_type:
            found.append(node)
            continue
        names += [each for each in node.input if each and each not in seen]
        seen |= set(node.input)
    return found


def _readers(graph: Graph, name: str, *, through: frozenset[str]) -> Iterator[tuple[Node, str]]:
    """The nodes that read a value, directly or through operators of some types, each with the name that it reads."""
    names, seen = [name], {name}
    while names:
        read = names.pop()
        for node in graph.consumers(read):
            yield node, read
            if node.op_type in through and node.output[0] not in seen:
                seen.add(node.output[0])
                names.append(node.output[0])


def _query(graph: Graph, name: str) -> str:
    """The query, before it is scaled and reshaped into a factor of the scores."""
    while (node := graph.producer(name)) is not None:
        if node.op_type in _RENAMES or node.op_type == "Reshape":
            name = node.input[0]
        elif node.op_type in _SCALES and (below := [each for each in node.input if not _is_scalar(graph, each)]):
            name = below[0]
        else:
            break
    return name


def _is_scalar(graph: Graph, name: str) -> bool:
    known = graph.tensor_type(name, PROBE)
    return known is not None and known.shape is not None and set(known.shape) <= {1}


def _moved(graph: Graph, name: str) -> Iterator[str]:
    """A value and what reshapes make of it, up to the first fork or other operator."""
    yield name
    while True:
        readers = [node for node in graph.consumers(name) if node.op_type != "Shape"]
        if len(readers) != 1 or readers[0].op_type not in _MOVES:
            return
        name = readers[0].output[0]
        yield name
