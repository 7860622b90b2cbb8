"""Rewrites a decomposed decoder into one whose sequences share slots.

In each layer, one GroupQueryAttention replaces all that lies between the query, the new keys and values, and the
output. Position embeddings stay as they are. Nothing reads the mask any more, so it is removed.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from onward_server.model.rewriting.attention import Attention, Heads, read_attention
from onward_server.model.rewriting.branches import take_cache_branch
from onward_server.model.rewriting.graph.model_graph import CONTRIB, Graph
from onward_server.model.rewriting.graph.tensor_types import dtype_of
from onward_server.model.rewriting.last_logits import keep_last_logits
from onward_server.model.rewriting.positions import count_by_row
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.region import Region
from onward_server.model.rewriting.rows import PREFIX, RowValues
from onward_server.model.rewriting.tables import read_whole_tables

_QUANTIZES_RUNS = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRewriting:
    """The layers that were rewritten."""

    layers: tuple[Attention, ...]

    @property
    def windows(self) -> list[int]:
        """The lengths of the windows, each once, in order."""
        return sorted({layer.window for layer in self.layers if layer.window is not None})

    def __str__(self) -> str:
        """The facts in words, for the log."""
        heads = self.layers[0].heads
        facts = [f"{len(self.layers)} layers, {heads.num} heads, {heads.num_kv} KV heads of size {heads.size}"]
        if self.windows:
            facts.append(f"windows of {', '.join(map(str, self.windows))} tokens")
        for fact, has in (
            ("soft cap", any(layer.softcap is not None for layer in self.layers)),
            ("attention sinks", any(layer.sinks is not None for layer in self.layers)),
            ("ALiBi", any(layer.slopes is not None for layer in self.layers)),
        ):
            facts += [fact] * has
        return ", ".join(facts)


def to_slots(graph: Graph, *, context_length: int) -> SlotRewriting:
    """Rewrites a graph in place.

    Args:
        graph: The graph. If the function raises, it is left half rewritten.
        context_length: Number of tokens of the model's context. A longer window is no window.

    Raises:
        NotRewritable: The graph has a form that is not recognized.
    """
    takes_single_tokens = take_cache_branch(graph)
    num_layers = sum(name.startswith("past_key_values.") and name.endswith(".key") for name in graph.inputs)
    if not num_layers or "attention_mask" not in graph.inputs or "input_ids" not in graph.inputs:
        raise NotRewritable("the graph has no input_ids, no attention_mask or no past_key_values")
    if any(node.op_type in _QUANTIZES_RUNS for node in graph.nodes()):
        raise NotRewritable(
            "it quantizes activations with one scale for all rows of a run, so that sequences would affect each other"
        )
    layers = tuple(
        read_attention(graph, Region.find(graph, layer), context_length, takes_single_tokens=takes_single_tokens)
        for layer in range(num_layers)
    )
    rows = RowValues.add_to(graph)
    for attention in layers:
        _write(graph, rows, attention)
    read_whole_tables(graph)
    count_by_row(graph, rows)
    keep_last_logits(graph)
    graph.prune()
    return SlotRewriting(layers=layers)


def _write(graph: Graph, rows: RowValues, attention: Attention) -> None:
    """Replaces a layer's attention by GroupQueryAttention."""
    region, heads = attention.region, attention.heads
    name = f"{PREFIX}{region.layer}"
    query = _cast(graph, region.query, attention.query_type, attention.cache_type, f"{name}/query/cast")
    inputs = [
        _by_token(graph, query, heads.size - heads.key_size, f"{name}/query"),
        _by_token(graph, region.keys.new, heads.size - heads.key_size, f"{name}/key"),
        _by_token(graph, region.values.new, heads.size - heads.value_size, f"{name}/value"),
        region.keys.past,
        region.values.past,
        rows.last_positions,
        rows.total,
        "",
        "",
        "",
        _alibi(graph, rows, attention),
        _sinks(graph, attention),
    ]
    while not inputs[-1]:
        inputs.pop()
    for cache in (region.keys, region.values):
        graph.rename_output(cache.present, f"{PREFIX}{cache.present}")
        for set_type, cached in ((graph.set_input, cache.past), (graph.set_output, cache.present)):
            set_type(cached, attention.cache_type, ["batch_size", heads.num_kv, "capacity", heads.size])
    graph.add_node(
        "GroupQueryAttention",
        inputs,
        [f"{name}/mixed", region.keys.present, region.values.present],
        domain=CONTRIB,
        num_heads=heads.num,
        kv_num_heads=heads.num_kv,
        scale=attention.scale,
        softcap=attention.softcap or 0.0,
        local_window_size=attention.window or -1,
        do_rotary=0,
    )
    output = _without_padding(graph, f"{name}/mixed", heads)
    output = _cast(graph, output, attention.cache_type, attention.output_type, f"{name}/output")
    graph.replace_uses(attention.output, output)


def _by_token(graph: Graph, name: str, padding: int, output: str) -> str:
    """(B, H, S, D) as (B, S, H * D), each head padded with zeros."""
    if padding:
        pads = graph.add_constant(f"{PREFIX}pads/{padding}", np.array([0] * 7 + [padding], np.int64))
        name = graph.compute("Pad", [name, pads], f"{output}/padded")
    turned = graph.compute("Transpose", [name], f"{output}/turned", perm=[0, 2, 1, 3])
    return graph.compute("Reshape", [turned, _flat(graph)], output)


def _without_padding(graph: Graph, name: str, heads: Heads) -> str:
    """(B, S, H * D) without the zeros after each head's values."""
    if heads.size == heads.value_size:
        return name
    by_head = graph.add_constant(f"{PREFIX}by_head", np.array([0, 0, heads.num, heads.size], np.int64))
    first, end, axis = (
        graph.add_constant(f"{PREFIX}vector/{number}", np.array([number], np.int64))
        for number in (0, heads.value_size, 3)
    )
    split = graph.compute("Reshape", [name, by_head], f"{name}/by_head")
    values = graph.compute("Slice", [split, first, end, axis], f"{name}/values")
    return graph.compute("Reshape", [values, _flat(graph)], f"{name}/flat")


def _flat(graph: Graph) -> str:
    return graph.add_constant(f"{PREFIX}flat", np.array([0, 0, -1], np.int64))


def _cast(graph: Graph, name: str, source: int, target: int, output: str) -> str:
    return name if source == target else graph.compute("Cast", [name], output, to=target)


def _alibi(graph: Graph, rows: RowValues, attention: Attention) -> str:
    """(B, H, S, T), what ALiBi adds to the logits; empty without it."""
    if attention.slopes is None:
        return ""
    slopes = attention.slopes.astype(dtype_of(attention.cache_type))[:, None, None]
    name = f"{PREFIX}alibi/{zlib.crc32(slopes.tobytes())}"  # most often the same in each layer
    if graph.producer(name) is None:
        distances = rows.distances(graph, attention.cache_type)
        graph.compute("Mul", [distances, graph.add_constant(f"{name}/slopes", slopes)], name)
    return name


def _sinks(graph: Graph, attention: Attention) -> str:
    """(H,), the logits of the attention sinks; empty without them."""
    if attention.sinks is None:
        return ""
    sinks = attention.sinks.astype(dtype_of(attention.cache_type))
    return graph.add_constant(f"{PREFIX}{attention.region.layer}/sinks", sinks)
