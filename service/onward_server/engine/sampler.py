"""Samples one token from the logits of one sequence. The other sequences of a run have no influence on it.

Order of operations:
    1. log probabilities are taken from the raw logits
    2. tokens that the constraint does not allow are blocked; until `min_tokens` is reached, so are end-of-sequence
       and stop tokens, unless the constraint allows no other token
    3. logit_bias
    4. repetition_penalty (prompt and sampled tokens), frequency_penalty and presence_penalty (sampled tokens)
    5. temperature; below 1e-5 the token with the highest score is taken, ties by lowest id, and steps 6 and 7 are
       skipped
    6. min_p, then top_k, then top_p over the remaining tokens, renormalized
    7. a uniform number u = hash(choice seed, position) selects the token by the inverse of the cumulative
       distribution: in order of descending probability with ties by lowest id, or by id if step 6 filters nothing
"""

import math

import numpy as np
import numpy.typing as npt

from onward_server.engine import logits_processors
from onward_server.engine.generation import RawLogprobs
from onward_server.engine.seeds import uniform
from onward_server.engine.sequence import Sequence
from onward_server.errors import LogitsNotFinite
from onward_server.grammar.matcher import Mask, apply_mask

_GREEDY_TEMPERATURE = 1e-5

Row = npt.NDArray[np.float32]  # (V,)
TokenIndices = npt.NDArray[np.intp]


def sample(logits: Row, sequence: Sequence, mask: Mask | None = None) -> int:
    """Samples the next token of a sequence.

    Args:
        logits: (V,); left unchanged.
        sequence: Gives the sampling parameters, the seed and the tokens so far.
        mask: The tokens that the constraint allows; None: all.

    Raises:
        LogitsNotFinite: A logit is infinite or not a number.
    """
    scores = _processed(logits, sequence, mask)
    best = int(scores.argmax())
    check(float(scores[best]))
    if sequence.sampling.temperature < _GREEDY_TEMPERATURE:
        return best
    return _sample_scaled(scores, float(scores[best]), sequence)


def check(logit: float) -> None:
    """Checks that a logit is finite.

    Raises:
        LogitsNotFinite: The logit is infinite or not a number.
    """
    if not math.isfinite(logit):
        raise LogitsNotFinite(logit)


def raw_logprobs(logits: Row, token_id: int, num_top: int) -> RawLogprobs:
    """Log-softmax of one token and of the `num_top` most likely tokens, from logits (V,)."""
    values = logits.astype(np.float64)
    peak = values.max()
    log_total = peak + math.log(np.exp(values - peak).sum())
    top = _best(values, num_top)
    return RawLogprobs(
        chosen=float(values[token_id] - log_total),
        top=tuple((int(other), float(values[other] - log_total)) for other in top),
    )


def ends_are_blocked(sequence: Sequence) -> bool:
    """Whether `min_tokens` requires a next token that does not end the sequence."""
    return len(sequence.token_ids) < sequence.sampling.min_tokens


def _processed(logits: Row, sequence: Sequence, mask: Mask | None) -> Row:
    """The logits after steps 2 to 4: the same array if they change nothing, else a copy."""
    if mask is None and not sequence.changes_logits and not ends_are_blocked(sequence):
        return logits
    params = sequence.sampling
    scores = logits.copy()
    if mask is not None:
        apply_mask(scores, mask)
    logits_processors.block(scores, _blocked_ends(sequence))
    logits_processors.add_bias(scores, params.logit_bias)
    if params.repetition_penalty != 1:
        logits_processors.penalize_repetition(
            scores, params.repetition_penalty, sequence.prompt_ids, sequence.token_ids
        )
    if params.frequency_penalty or params.presence_penalty:
        logits_processors.penalize_frequency(
            scores, params.frequency_penalty, params.presence_penalty, sequence.token_ids
        )
    return scores


def _blocked_ends(sequence: Sequence) -> set[int]:
    """Tokens that would end the sequence and must not be sampled next.

    `ignore_eos` normally samples past the end of a sequence. Under a constraint it blocks the end-of-sequence tokens
    instead, because a constraint allows nothing after them.
    """
    params, eos_token_ids = sequence.sampling, sequence.request.eos_token_ids
    blocked: set[int] = set()
    if ends_are_blocked(sequence):
        blocked |= {*params.stop_token_ids, *(() if params.ignore_eos else eos_token_ids)}
    if params.ignore_eos and sequence.matcher is not None:
        blocked |= eos_token_ids
    return blocked


def _sample_scaled(scores: Row, best_score: float, sequence: Sequence) -> int:
    """Steps 5 to 7, in double precision."""
    params = sequence.sampling
    scaled = (scores.astype(np.float64) - best_score) / params.temperature  # (V,), at most 0
    u = uniform(sequence.seed, sequence.position)
    if not params.min_p and not params.top_k and params.top_p >= 1:
        return _inverse_cdf(_cumulative_weights(scaled), u)
    candidates = _candidates(scaled, params.min_p, params.top_k)
    if params.top_p < 1:
        candidates = _nucleus(scaled, candidates, params.top_p)
    ranked = _best_first(scaled, candidates)
    return int(ranked[_inverse_cdf(_cumulative_weights(scaled[ranked]), u)])


def _candidates(scaled: npt.NDArray[np.float64], min_p: float, top_k: int) -> TokenIndices:
    """Token ids that pass min_p and top_k."""
    size = len(scaled)
    floor = math.log(min_p) if min_p else -math.inf
    if not top_k or top_k >= size:
        return np.flatnonzero(scaled >= floor)
    floor = max(floor, float(np.partition(scaled, size - top_k)[size - top_k]))
    return _best_first(scaled, np.flatnonzero(scaled >= floor))[:top_k]


def _nucleus(scaled: npt.NDArray[np.float64], candidates: TokenIndices, top_p: float) -> TokenIndices:
    """The fewest candidates, most likely first, that together hold `top_p` of the candidates' weight.

    The most likely token has weight 1, so all candidates below ln((1 - top_p) / size) together hold less than
    1 - top_p of the total. The nucleus lies above that bound, and the tail below it need not be sorted.
    """
    total = float(np.exp(scaled[candidates]).sum())
    upper = candidates[scaled[candidates] >= math.log((1 - top_p) / len(candidates))]
    ranked = _best_first(scaled, upper)
    cumulative = _cumulative_weights(scaled[ranked])
    return ranked[: int(np.searchsorted(cumulative, top_p * total)) + 1]


def _best_first(scaled: npt.NDArray[np.float64], token_ids: TokenIndices) -> TokenIndices:
    """Token ids by descending score, ties by lowest id."""
    ascending = np.sort(token_ids)
    return ascending[np.argsort(-scaled[ascending], kind="stable")]


def _cumulative_weights(scaled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cumsum(np.exp(scaled), dtype=np.float64)


def _inverse_cdf(cumulative: npt.NDArray[np.float64], u: float) -> int:
    """The first index whose cumulative weight exceeds u times the total; its own weight is never 0."""
    total = float(cumulative[-1])
    last = int(np.searchsorted(cumulative, total))  # the last index with weight: rounding must not go past it
    return min(int(np.searchsorted(cumulative, u * total, side="right")), last)


def _best(values: npt.NDArray[np.float64], count: int) -> TokenIndices:
    """Token ids of the `count` largest values, largest first, ties by lowest id."""
    return _best_first(values, _candidates(values, 0.0, count)) if count else np.empty(0, np.intp)
