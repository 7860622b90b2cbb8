"""Lets a graph compute logits for the last tokens of a run only.

Prefill needs the logits after its last token. The product with the vocabulary is a large part of a small model's work,
and the logits of a long prompt take much memory.
"""

import numpy as np

from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import INT64, Node
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.rows import PREFIX

NUM_LOGITS = "num_logits_to_keep"
_PRODUCTS = frozenset({"Gemm", "MatMul", "MatMulBnb4", "MatMulInteger", "MatMulNBits"})
_PASSES = frozenset({"Add", "Cast", "Clip", "Div", "Identity", "Mul", "Reshape", "Slice", "Tanh"})


def keep_last_logits(graph: Graph) -> None:
    """Adds the input `num_logits_to_keep`, a scalar: the number of tokens whose logits are computed.

    Raises:
        NotRewritable: The product with the vocabulary is not found, or its input is used elsewhere.
    """
    if not {NUM_LOGITS, "logits_to_keep"}.isdisjoint(graph.inputs):
        return
    product = _vocabulary_product(graph)
    hidden = product.input[0]
    above = graph.producer(hidden)
    if above is not None and above.op_type == "DynamicQuantizeLinear":
        hidden = above.input[0]
    readers = [node for node in graph.consumers(hidden) if node.op_type != "Shape"]
    if len(readers) != 1:
        raise NotRewritable(f"{len(readers)} operators read {hidden}, from which the logits are computed")
    _slice(graph, hidden, _unpruned(graph, hidden) or hidden)
    logits = graph.output_type("logits")
    graph.set_input(NUM_LOGITS, INT64, [])
    graph.set_output(
        "logits", logits.element_type, ["batch_size", NUM_LOGITS, (logits.shape or [None])[-1] or "vocabulary"]
    )


def _vocabulary_product(graph: Graph) -> Node:
    """The product from which the logits are computed."""
    names, found = ["logits"], dict[str, Node]()
    while names:
        node = graph.producer(names.pop())
        if node is None:
            continue
        if node.op_type in _PRODUCTS:
            found[node.output[0]] = node
        elif node.op_type in _PASSES:
            names += node.input
    if len(found) != 1:
        raise NotRewritable(f"the logits are computed from {len(found)} products; a causal decoder has one")
    return next(iter(found.values()))


def _unpruned(graph: Graph, hidden: str) -> str | None:
    """The hidden states of all tokens, if the head is pruned to those of the last one; else None."""
    node = graph.producer(hidden)
    if node is not None and node.op_type == "Unsqueeze":
        node = graph.producer(node.input[0])
    if node is None or node.op_type not in ("Gather", "Slice"):
        return None
    place = graph.constant(node.input[1])
    if place is None or place.size != 1 or int(place.flat[0]) != -1:
        return None
    axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    if node.op_type == "Slice" and len(node.input) > 3 and (constant := graph.constant(node.input[3])) is not None:
        axes = [int(axis) for axis in constant.flat]
    return node.input[0] if axes == [1] else None


def _slice(graph: Graph, hidden: str, every: str) -> None:
    """Gives the readers of hidden states (B, S, hidden) those of the last tokens only."""
    negative = graph.compute("Neg", [NUM_LOGITS], f"{PREFIX}first_logits")
    vector = graph.add_constant(f"{PREFIX}vector", np.array([1], np.int64))
    start = graph.compute("Reshape", [negative, vector], f"{PREFIX}first_logits_vector")
    end = graph.add_constant(f"{PREFIX}end", np.array([np.iinfo(np.int64).max], np.int64))
    last = f"{PREFIX}last_hidden"
    graph.replace_uses(hidden, last)
    graph.compute("Slice", [every, start, end, vector], last)
