"""A decoder in float64 numpy, without cache or batches: the reference for exported graphs."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onward_server.export.decoder_config import DecoderConfig, Layer, Rope

Array = NDArray[np.float64]


def reference_logits(
    config: DecoderConfig, weights: Mapping[str, NDArray[np.float32]], token_ids: NDArray[np.int64]
) -> Array:
    """Logits (T, V) after each token of one sequence."""
    wide = {name: weight.astype(np.float64) for name, weight in weights.items()}
    hidden = wide["embed_tokens.weight"][token_ids] * config.embedding_scale
    if config.learned_positions:
        hidden = hidden + wide["position_embeddings.weight"][: len(token_ids)]
    for index, layer in enumerate(config.layers):
        prefix = f"layers.{index}."
        own = {name.removeprefix(prefix): weight for name, weight in wide.items() if name.startswith(prefix)}
        decoder_layer = _Layer(config, layer, own)
        hidden = hidden + config.residual_scale * decoder_layer.attention(hidden)
        hidden = hidden + config.residual_scale * decoder_layer.mlp(hidden)
    table = wide.get("lm_head.weight", wide["embed_tokens.weight"])
    logits = _norm(config, hidden, wide, "final_norm") @ table.T + wide.get("lm_head.bias", 0.0)
    logits = logits * config.logits_scale
    cap = config.logits_softcap
    return logits if cap is None else cap * np.tanh(logits / cap)


class _Layer:
    """One layer of a decoder."""

    def __init__(self, config: DecoderConfig, layer: Layer, weights: Mapping[str, Array]) -> None:
        self.config = config
        self.layer = layer
        self.weights = weights

    def attention(self, rows: Array) -> Array:
        config = self.config
        if config.input_norms:
            rows = _norm(config, rows, self.weights, "attention_norm")
        query, key = (self._rotated(self._queries_or_keys(side, rows)) for side in "qk")
        value = self._linear("v_proj", rows).reshape(len(rows), -1, config.head_dim)
        group = config.num_heads // config.num_kv_heads
        key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
        scores = np.einsum("thd,shd->hts", query, key) * (config.attention_scale or config.head_dim**-0.5)
        if config.attention_softcap is not None:
            scores = config.attention_softcap * np.tanh(scores / config.attention_softcap)
        seen = np.tri(len(rows), dtype=bool)
        if self.layer.window is not None:
            seen &= ~np.tri(len(rows), k=-self.layer.window, dtype=bool)
        scores = np.where(seen, scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hts,shd->thd", shares, value).reshape(len(rows), -1)
        return self._output("attention", self._linear("o_proj", mixed))

    def mlp(self, rows: Array) -> Array:
        config = self.config
        if config.input_norms:
            rows = _norm(config, rows, self.weights, "mlp_norm")
        up = self._linear("up_proj", rows)
        inner = self._activated(self._linear("gate_proj", rows)) * up if config.gated else self._activated(up)
        return self._output("mlp", self._linear("down_proj", inner))

    def _output(self, part: str, change: Array) -> Array:
        return _norm(self.config, change, self.weights, f"{part}_output_norm") if self.config.output_norms else change

    def _queries_or_keys(self, side: str, rows: Array) -> Array:
        flat = self._linear(f"{side}_proj", rows)
        if self.config.qk_norm == "full":
            flat = _rms_norm(self.config, flat, self.weights[f"{side}_norm.weight"])
        heads = flat.reshape(len(rows), -1, self.config.head_dim)
        if self.config.qk_norm == "heads":
            heads = _rms_norm(self.config, heads, self.weights[f"{side}_norm.weight"])
        return heads

    def _rotated(self, heads: Array) -> Array:
        if self.layer.rope is None:
            return heads
        frequencies, scale = _rotation(self.layer.rope, len(heads))
        half = len(frequencies)
        angles = np.arange(len(heads))[:, None, None] * frequencies
        turned = (heads[..., :half] + 1j * heads[..., half : 2 * half]) * np.exp(1j * angles) * scale
        return np.concatenate([turned.real, turned.imag, heads[..., 2 * half :]], axis=-1)

    def _linear(self, name: str, rows: Array) -> Array:
        return rows @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def _activated(self, rows: Array) -> Array:
        match self.config.activation:
            case "silu":
                return rows / (1 + np.exp(-rows))
            case "relu":
                return np.maximum(rows, 0)
            case "relu2":
                return np.maximum(rows, 0) ** 2
            case "gelu":
                return rows * (1 + np.vectorize(math.erf)(rows / np.sqrt(2))) / 2
            case "gelu_tanh":
                return rows * (1 + np.tanh(np.sqrt(2 / np.pi) * (rows + 0.044715 * rows**3))) / 2


def _rotation(rope: Rope, length: int) -> tuple[Array, float]:
    """Frequencies and scale for a sequence of a length."""
    if rope.long is not None and length > rope.long.above:
        return np.array(rope.long.frequencies), rope.long.scale
    return np.array(rope.frequencies), rope.scale


def _norm(config: DecoderConfig, rows: Array, weights: Mapping[str, Array], name: str) -> Array:
    if config.norm == "rms":
        return _rms_norm(config, rows, weights[f"{name}.weight"])
    centered = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centered * centered, axis=-1, keepdims=True) + config.norm_eps)
    return centered / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _rms_norm(config: DecoderConfig, rows: Array, gain: Array) -> Array:
    return rows / np.sqrt(np.mean(rows * rows, axis=-1, keepdims=True) + config.norm_eps) * gain
