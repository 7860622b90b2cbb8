"""GPT-2's architecture in plain float64 numpy, without a cache: the reference for graphs and for the server."""

import numpy as np
from numpy.typing import NDArray

from tests.gpt2_model import NORM_EPS, SHAPE, Weights

Array = NDArray[np.float64]


class Gpt2Reference:
    """Weights by minGPT's names; rows are [B, T] token ids of equal length."""

    def __init__(self, weights: Weights) -> None:
        self._weights = {name: weight.astype(np.float64) for name, weight in weights.items()}

    def logits(self, token_ids: NDArray[np.int64]) -> Array:
        """Logits [B, T, V] after each token."""
        places = self._weights["transformer.wpe.weight"][: token_ids.shape[1]]
        hidden = self._weights["transformer.wte.weight"][token_ids] + places
        for block in (f"transformer.h.{layer}" for layer in range(len(SHAPE.layers))):
            hidden = hidden + self._attention(f"{block}.attn", self._norm(f"{block}.ln_1", hidden))
            wide = self._linear(f"{block}.mlp.c_fc", self._norm(f"{block}.ln_2", hidden))
            hidden = hidden + self._linear(f"{block}.mlp.c_proj", _gelu(wide))
        return self._norm("transformer.ln_f", hidden) @ self._weights["lm_head.weight"].T

    def greedy(self, token_ids: NDArray[np.int64], num_tokens: int) -> tuple[NDArray[np.int64], float]:
        """The likeliest tokens [B, num_tokens] after each row, and the least margin by which one was the likeliest."""
        rows, margin = token_ids, np.inf
        for _ in range(num_tokens):
            last = self.logits(rows)[:, -1]
            second, first = np.sort(last, axis=-1)[:, -2:].T
            margin = min(margin, float((first - second).min()))
            rows = np.concatenate([rows, last.argmax(axis=-1)[:, None]], axis=1)
        return rows[:, token_ids.shape[1] :], margin

    def _attention(self, name: str, rows: Array) -> Array:
        batch, length, _ = rows.shape
        joined = self._linear(f"{name}.c_attn", rows).reshape(batch, length, 3, SHAPE.num_heads, SHAPE.head_dim)
        query, key, value = np.moveaxis(joined, 2, 0)
        scores = np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(SHAPE.head_dim)
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = np.einsum("bhts,bshd->bthd", shares, value).reshape(batch, length, -1)
        return self._linear(f"{name}.c_proj", mixed)

    def _linear(self, name: str, rows: Array) -> Array:
        return rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, rows: Array) -> Array:
        centered = rows - rows.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt(np.mean(centered * centered, axis=-1, keepdims=True) + NORM_EPS)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(rows: Array) -> Array:
    """The approximation by tanh."""
    return rows / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (rows + 0.044715 * rows**3)))
