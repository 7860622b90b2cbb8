"""What changes logits before a draw: one pure function each, in place on a row of its own; it draws nothing."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]


def block(scores: Scores, token_ids: Iterable[int]) -> None:
    """Makes tokens impossible, unless nothing else is possible."""
    indices = list(token_ids)
    if not indices:
        return
    kept = scores[indices]
    scores[indices] = -np.inf
    if scores.max() == -np.inf:
        scores[indices] = kept


def add_bias(scores: Scores, logit_bias: Sequence[tuple[int, float]]) -> None:
    """Adds a value to the logits of single tokens."""
    for token_id, bias in logit_bias:
        scores[token_id] += np.float32(bias)


def penalize_repetition(scores: Scores, penalty: float, *histories: Sequence[int]) -> None:
    """Weakens every token of the prompt and the answer once: x / penalty where x > 0, x * penalty elsewhere.

    Source: Keskar et al., CTRL, arXiv:1909.05858, as Hugging Face and vLLM apply it.
    """
    seen = np.unique(np.concatenate([np.asarray(history, np.int64) for history in histories]))
    values = scores[seen].astype(np.float64)
    # A tiny penalty makes what it divides as likely as can be, and not infinite. onnxruntime has its thread take the
    # tiniest numbers for zero, so that this may divide by it.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        changed = np.where(values > 0, values / penalty, values * penalty)
    scores[seen] = np.minimum(changed, np.finfo(np.float32).max)


def penalize_frequency(scores: Scores, frequency: float, presence: float, answer: Sequence[int]) -> None:
    """Subtracts `frequency` for each time a token was drawn, and `presence` once; the prompt does not count.

    Source: OpenAI's definition of these parameters.
    """
    if answer:
        token_ids, counts = np.unique(np.asarray(answer, np.int64), return_counts=True)
        scores[token_ids] -= (frequency * counts + presence).astype(np.float32)
