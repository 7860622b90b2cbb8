"""Finds out by experiment what the attention of a layer computes.

Exporters write scales, masks and soft caps in many ways, so they are not read from the operators. The part of the graph
between query, keys, values and output is evaluated for chosen numbers, and the parameters of GroupQueryAttention follow
from the results. Finally, that part must give the output that GroupQueryAttention gives with these parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onward_server.model.rewriting.graph.evaluation import NotEvaluable
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.graph.tensor_types import Array, Shape, Sizes, element_type_of
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.region import PROBE, Region

Floats = npt.NDArray[np.float64]

_MASKED = -9000.0
"""A token is masked if its logit, less that of the token that attends, is below this."""
_LARGE_SCORE = 3e4
"""A score that every soft cap reduces to its limit, and that float16 can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The sizes of an attention."""

    num: int
    num_kv: int
    key_size: int
    value_size: int

    @property
    def size(self) -> int:
        """The size for GroupQueryAttention: the same for keys and values, and a multiple of 8."""
        return -(-max(self.key_size, self.value_size) // 8) * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The attention of a layer, as GroupQueryAttention describes it."""

    region: Region
    heads: Heads
    scale: float
    softcap: float | None
    window: int | None
    """Number of tokens that a token attends to, including itself; None: all up to itself."""
    sinks: Floats | None
    """(H,), for each head a logit that takes a part of the weight and has no value."""
    slopes: Floats | None
    """(H,), what ALiBi subtracts from a logit per token of distance."""
    output: str
    """(B, S, H * D)"""
    cache_type: int
    """Element type of keys and values."""
    query_type: int
    output_type: int


def read_attention(graph: Graph, region: Region, context_length: int, *, takes_single_tokens: bool) -> Attention:
    """Finds out what a layer's attention computes.

    Args:
        graph: The graph.
        region: Where the attention lies.
        context_length: Number of tokens of the model's context. A longer window is no window.
        takes_single_tokens: Whether the graph was made for one new token a run. Its mask may be wrong for more.

    Raises:
        NotRewritable: GroupQueryAttention cannot compute it.
    """
    try:
        probe = _Probe(graph, region)
        scale, softcap = _read_scale(probe)
        bias = _bias(probe, PROBE)
        attention = Attention(
            region=region,
            heads=probe.heads,
            scale=scale,
            softcap=softcap,
            window=_read_window(probe, context_length),
            sinks=_read_sinks(probe),
            slopes=_read_slopes(bias),
            output=region.outputs[0],
            cache_type=probe.types[1],
            query_type=probe.types[0],
            output_type=probe.types[0],
        )
        for past in {PROBE.past, max((attention.window or 2) - 2, 0)}:
            _require_mask(probe, attention, Sizes(batch=2, new=1 if takes_single_tokens else PROBE.new, past=past))
        return _with_output(probe, attention)
    except NotEvaluable as error:
        raise NotRewritable(
            f"the attention of layer {region.layer} depends on more than its inputs: {error}"
        ) from error


class _Probe:
    """Evaluates the attention of a layer for chosen numbers."""

    def __init__(self, graph: Graph, region: Region) -> None:
        self.region = region
        self._graph = graph
        self.heads = _heads(graph, region)
        caches = [graph.tensor_type(cache.whole, PROBE) for cache in (region.keys, region.values)]
        types = [graph.tensor_type(region.query, PROBE) or caches[0], *caches]
        self.types = [each.element_type for each in types if each is not None]
        """Element types of query, keys and values."""
        self._scores: Array | None = None
        self._dtypes = [each.dtype for each in types if each is not None]

    def arrays(self) -> tuple[Array, Array, Array]:
        """Zeros for the query, the keys and the values of the run `PROBE`."""
        heads = self.heads
        query, keys, values = self._dtypes
        return (
            np.zeros((PROBE.batch, heads.num, PROBE.new, heads.key_size), query),
            np.zeros((PROBE.batch, heads.num_kv, PROBE.total, heads.key_size), keys),
            np.zeros((PROBE.batch, heads.num_kv, PROBE.total, heads.value_size), values),
        )

    def run(self, name: str, query: Array, keys: Array, values: Array) -> Array:
        """A value in the run `PROBE`."""
        region = self.region
        given = {region.query: query, region.keys.whole: keys, region.values.whole: values}
        return self._evaluate(name, given, PROBE)

    def unscored(self, sizes: Sizes) -> Floats:
        """The logits (B, H, S, T) of scores that are zero; with a sink T + 1 of them."""
        if self._scores is None:
            self._scores = self.run(self.region.scores, *self.arrays())
        scores = self._scores
        rows = (sizes.batch, self.heads.num) if scores.ndim == 4 else (sizes.batch * self.heads.num,)
        zeros = np.zeros((*rows, sizes.new, sizes.total), scores.dtype)
        logits = self._evaluate(self.region.logits, {self.region.scores: zeros}, sizes)
        return logits.astype(np.float64).reshape(sizes.batch, self.heads.num, sizes.new, -1)

    def _evaluate(self, name: str, given: Mapping[str, Array], sizes: Sizes) -> Array:
        positions = np.arange(sizes.past, sizes.total) + np.zeros((sizes.batch, 1), np.int64)
        inputs: dict[str, Array] = {
            "attention_mask": np.ones((sizes.batch, sizes.total), np.int64),
            "position_ids": positions,
        }
        return self._graph.evaluate([name], {**inputs, **given}, sizes)[0]


def _heads(graph: Graph, region: Region) -> Heads:
    _, num_kv, _, key_size = _four_axes(graph, region.keys.whole)
    _, num_values, _, value_size = _four_axes(graph, region.values.whole)
    rows = [graph.tensor_type(name, PROBE) for name in (region.query, region.scores)]
    nums = [row.shape[1] for row in rows if row is not None and row.shape and len(row.shape) == 4 and row.shape[1]]
    if not nums or not num_kv or num_kv != num_values or nums[0] % num_kv or not key_size or not value_size:
        raise NotRewritable(
            f"layer {region.layer} has {nums[:1]} heads, {num_kv} for keys of size {key_size} and {num_values} for "
            f"values of size {value_size}"
        )
    return Heads(num=nums[0], num_kv=num_kv, key_size=key_size, value_size=value_size)


def _four_axes(graph: Graph, name: str) -> Shape:
    found = graph.tensor_type(name, PROBE)
    if found is None or found.shape is None or len(found.shape) != 4:
        raise NotRewritable(f"the shape of {name} is unknown")
    return found.shape


def _read_scale(probe: _Probe) -> tuple[float, float | None]:
    """The factor of the scores, and their soft cap."""
    if probe.region.tanh is None:
        return _of_last_score(probe, probe.region.logits, 1.0), None
    softcap = _of_last_score(probe, probe.region.logits, _LARGE_SCORE)
    return softcap * _of_last_score(probe, probe.region.tanh, 1.0), softcap


def _of_last_score(probe: _Probe, name: str, score: float) -> float:
    """What a score of the last token with itself adds to a value that follows from the scores."""
    query, keys, values = probe.arrays()
    query[..., 0] = score
    without = _last_two(probe, probe.run(name, query, keys, values))
    keys[:, :, -1, 0] = 1
    changes = _last_two(probe, probe.run(name, query, keys, values)) - without
    if np.ptp(changes) > 0:
        raise NotRewritable(f"the heads of layer {probe.region.layer} have different scales")
    return float(changes[0])


def _last_two(probe: _Probe, logits: Array) -> Floats:
    """The difference, for each head, between the last token's logit of itself and that of the token before."""
    rows = logits.astype(np.float64).reshape(PROBE.batch * probe.heads.num, PROBE.new, -1)[:, -1]
    difference: Floats = rows[:, PROBE.total - 1] - rows[:, PROBE.total - 2]  # a shift of the whole row cancels
    return difference


def _bias(probe: _Probe, sizes: Sizes) -> Floats:
    """What is added to the logits (B, H, S, T), relative to that of a token itself."""
    logits = probe.unscored(sizes)[..., : sizes.total]
    own = np.arange(sizes.new)
    return logits - logits[:, :, own, sizes.past + own][..., None]


def _read_window(probe: _Probe, context_length: int) -> int | None:
    """How many tokens the last token of the context attends to, if not all."""
    sizes = Sizes(batch=1, new=1, past=context_length - 1)
    num_seen = int((_bias(probe, sizes)[0, 0, 0] > _MASKED).sum())
    return num_seen if num_seen < context_length else None


def _read_sinks(probe: _Probe) -> Floats | None:
    logits = probe.unscored(PROBE)[0, :, -1]
    if logits.shape[-1] == PROBE.total:
        return None
    return logits[:, -1] - logits[:, PROBE.total - 1]


def _read_slopes(bias: Floats) -> Floats | None:
    slopes = -bias[0, :, -1, PROBE.total - 2]
    return slopes if np.abs(slopes).max() > 0 else None


def _require_mask(probe: _Probe, attention: Attention, sizes: Sizes) -> None:
    """Requires the mask of a window, with nothing but ALiBi added to the logits that it leaves."""
    bias = _bias(probe, sizes)
    distance = _distance(sizes)
    expected = np.zeros_like(bias)
    if attention.slopes is not None:
        expected -= attention.slopes[:, None, None] * distance
    seen = (distance >= 0) & (distance < (attention.window or sizes.total))
    if (bias[..., ~seen] > _MASKED).any() or not np.allclose(
        bias[..., seen], expected[..., seen], rtol=1e-3, atol=1e-5
    ):
        wanted = "all tokens so far" if attention.window is None else f"the last {attention.window} tokens"
        raise NotRewritable(f"the mask of layer {attention.region.layer} is not causal attention to {wanted}")


def _with_output(probe: _Probe, attention: Attention) -> Attention:
    """The attention with the name of its output, which must have the values that GroupQueryAttention gives."""
    generator = np.random.default_rng(0)
    query, keys, values = (generator.normal(size=each.shape).astype(each.dtype) for each in probe.arrays())
    expected = _attend(attention, query, keys, values, _bias(probe, PROBE) > _MASKED)
    is_single = all(each.dtype == np.float32 for each in (query, keys, values))
    tolerance = np.abs(expected).max() * (1e-4 if is_single else 1e-2)
    for name in attention.region.outputs:
        output = probe.run(name, query, keys, values)
        if output.shape == expected.shape:
            if np.abs(output.astype(np.float64) - expected).max() > tolerance:
                break
            return replace(attention, output=name, output_type=element_type_of(output.dtype))
    raise NotRewritable(f"layer {attention.region.layer} computes more than an attention of its cache")


def _attend(attention: Attention, query: Array, keys: Array, values: Array, seen: npt.NDArray[np.bool_]) -> Floats:
    """What GroupQueryAttention computes in the run `PROBE` with a mask (B, H, S, T): (B, S, H * D)."""
    group = attention.heads.num // attention.heads.num_kv
    keys, values = (np.repeat(each.astype(np.float64), group, axis=1) for each in (keys, values))
    logits = query.astype(np.float64) @ keys.swapaxes(-1, -2) * attention.scale
    if attention.softcap is not None:
        logits = attention.softcap * np.tanh(logits / attention.softcap)
    if attention.slopes is not None:
        logits -= attention.slopes[:, None, None] * _distance(PROBE)
    weights = np.exp(np.where(seen, logits, -np.inf))
    total = weights.sum(axis=-1, keepdims=True)
    if attention.sinks is not None:
        total += np.exp(attention.sinks)[:, None, None]
    mixed: Floats = (weights / total) @ values
    return mixed.swapaxes(1, 2).reshape(PROBE.batch, PROBE.new, -1)


def _distance(sizes: Sizes) -> npt.NDArray[np.int64]:
    """(S, T), the position of each new token less that of each token."""
    return np.arange(sizes.past, sizes.total)[:, None] - np.arange(sizes.total)
