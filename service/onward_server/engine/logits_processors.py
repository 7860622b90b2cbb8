"""Changes to the logits of one sequence before sampling. Each function works in place on scores (V,)."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]  # (V,)


def block(scores: Scores, token_ids: Iterable[int]) -> None:
    """Sets the scores of tokens to -inf, unless every other score is -inf already."""
    indices = list(token_ids)
    if not indices:
        return
    kept = scores[indices]
    scores[indices] = -np.inf
    if scores.max() == -np.inf:
        scores[indices] = kept


def add_bias(scores: Scores, logit_bias: Sequence[tuple[int, float]]) -> None:
    """Adds each bias to the score of its token."""
    for token_id, bias in logit_bias:
        scores[token_id] += np.float32(bias)


def penalize_repetition(scores: Scores, penalty: float, *histories: Sequence[int]) -> None:
    """Penalizes each token of the histories, once however often it occurs: x / penalty if x > 0, else x * penalty.

    Source: Keskar et al., CTRL, arXiv:1909.05858, as Hugging Face and vLLM apply it.
    """
    seen = np.unique(np.concatenate([np.asarray(history, np.int64) for history in histories]))
    values = scores[seen].astype(np.float64)
    # A tiny penalty must give the largest finite score, not infinity. The division may even be by zero, because
    # onnxruntime sets the thread that calls it to flush denormal numbers to zero.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        changed = np.where(values > 0, values / penalty, values * penalty)
    scores[seen] = np.minimum(changed, np.finfo(np.float32).max)


def penalize_frequency(scores: Scores, frequency: float, presence: float, sampled_ids: Sequence[int]) -> None:
    """Subtracts, from each sampled token, `frequency` times how often it was sampled, and `presence` once.

    Source: OpenAI's definition of these parameters.
    """
    if sampled_ids:
        token_ids, counts = np.unique(np.asarray(sampled_ids, np.int64), return_counts=True)
        scores[token_ids] -= (frequency * counts + presence).astype(np.float32)
