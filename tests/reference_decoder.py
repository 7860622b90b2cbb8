"""A Llama or Qwen3 style decoder in float64 numpy, without cache or batches: the reference for exported graphs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from testing.other_exporters.decoder_config import DecoderConfig

Array = NDArray[np.float64]


def reference_logits(
    config: DecoderConfig, weights: Mapping[str, NDArray[np.float32]], token_ids: NDArray[np.int64]
) -> Array:
    """Logits (T, V) after each token of one sequence."""
    wide = {name: weight.astype(np.float64) for name, weight in weights.items()}
    hidden = wide["model.embed_tokens.weight"][token_ids]
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}."
        own = {name.removeprefix(prefix): weight for name, weight in wide.items() if name.startswith(prefix)}
        hidden = hidden + _attention(config, own, _rms_norm(config, hidden, own["input_layernorm.weight"]))
        hidden = hidden + _mlp(own, _rms_norm(config, hidden, own["post_attention_layernorm.weight"]))
    table = wide.get("lm_head.weight", wide["model.embed_tokens.weight"])
    return _rms_norm(config, hidden, wide["model.norm.weight"]) @ table.T


def _rms_norm(config: DecoderConfig, rows: Array, gain: Array) -> Array:
    return rows / np.sqrt(np.mean(rows * rows, axis=-1, keepdims=True) + config.norm_eps) * gain


def _attention(config: DecoderConfig, weights: Mapping[str, Array], rows: Array) -> Array:
    heads = {
        side: (
            rows @ weights[f"self_attn.{side}_proj.weight"].T + weights.get(f"self_attn.{side}_proj.bias", 0.0)
        ).reshape(len(rows), -1, config.head_dim)
        for side in "qkv"
    }
    if config.qk_norm:
        heads |= {side: _rms_norm(config, heads[side], weights[f"self_attn.{side}_norm.weight"]) for side in "qk"}
    query, key = _rotate(config, heads["q"]), _rotate(config, heads["k"])
    group = config.num_heads // config.num_kv_heads
    key, value = np.repeat(key, group, axis=1), np.repeat(heads["v"], group, axis=1)
    scores = np.einsum("thd,shd->hts", query, key) / np.sqrt(config.head_dim)
    scores = np.where(np.tri(len(rows), dtype=bool), scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.einsum("hts,shd->thd", shares, value).reshape(len(rows), -1) @ weights["self_attn.o_proj.weight"].T


def _rotate(config: DecoderConfig, heads: Array) -> Array:
    if config.rope_theta is None:
        return heads
    half = config.head_dim // 2
    angles = np.arange(len(heads))[:, None, None] / config.rope_theta ** (np.arange(half) / half)
    turned = (heads[..., :half] + 1j * heads[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def _mlp(weights: Mapping[str, Array], rows: Array) -> Array:
    gate = rows @ weights["mlp.gate_proj.weight"].T
    return (gate / (1 + np.exp(-gate)) * (rows @ weights["mlp.up_proj.weight"].T)) @ weights["mlp.down_proj.weight"].T
