"""From logits to a token, one row at a time; it does not know other rows, so what they do cannot matter.

Order of operations:
    1. log probabilities are taken from the raw logits
    2. end-of-sequence and stop tokens are blocked while `min_tokens` is not reached
    3. logit_bias
    4. repetition_penalty (prompt and answer), frequency_penalty and presence_penalty (answer)
    5. temperature; under 1e-5 the best token is taken, ties by lowest id, and what follows is skipped
    6. min_p, then top_k, then top_p over what is left, renormalised
    7. one uniform u = hash(choice seed, position); inverse of the cumulative distribution, in order of descending probability, ties by id;
       where nothing was filtered, in order of id
"""

import math

import numpy as np
import numpy.typing as npt

from service.engine import logits_processors
from service.engine.generation import RawLogprobs
from service.engine.seeds import uniform
from service.engine.sequence import Sequence
from service.errors import EngineFailed

_GREEDY_TEMPERATURE = 1e-5

Row = npt.NDArray[np.float32]  # (V,)


def sample(logits: Row, sequence: Sequence) -> int:
    """Draws the next token of a sequence.

    Raises:
        EngineFailed: the logits are not numbers.
    """
    scores = _processed(logits, sequence)
    best = int(scores.argmax())
    if not math.isfinite(scores[best]):
        raise EngineFailed(f"the model's best logit is {scores[best]}")
    if sequence.sampling.temperature < _GREEDY_TEMPERATURE:
        return best
    return _draw(scores, float(scores[best]), sequence)


def raw_logprobs(logits: Row, token_id: int, num_top: int) -> RawLogprobs:
    """Log-softmax of one token and of the `num_top` best."""
    values = logits.astype(np.float64)
    peak = values.max()
    log_total = peak + math.log(np.exp(values - peak).sum())
    top = _best(values, num_top)
    return RawLogprobs(
        chosen=float(values[token_id] - log_total),
        top=tuple((int(other), float(values[other] - log_total)) for other in top),
    )


def ends_are_blocked(sequence: Sequence) -> bool:
    """Whether the next token must not end the sequence."""
    return len(sequence.token_ids) < sequence.sampling.min_tokens


def _processed(logits: Row, sequence: Sequence) -> Row:
    """The logits with everything before temperature applied: a copy where anything is."""
    params = sequence.sampling
    penalizes_frequency = params.frequency_penalty or params.presence_penalty
    blocks = ends_are_blocked(sequence)
    if not (blocks or params.logit_bias or params.repetition_penalty != 1 or penalizes_frequency):
        return logits
    scores = logits.copy()
    if blocks:
        ends = () if params.ignore_eos else sequence.request.eos_token_ids
        logits_processors.block(scores, {*ends, *params.stop_token_ids})
    logits_processors.add_bias(scores, params.logit_bias)
    if params.repetition_penalty != 1:
        logits_processors.penalize_repetition(
            scores, params.repetition_penalty, sequence.prompt_ids, sequence.token_ids
        )
    if penalizes_frequency:
        logits_processors.penalize_frequency(
            scores, params.frequency_penalty, params.presence_penalty, sequence.token_ids
        )
    return scores


def _draw(scores: Row, best_score: float, sequence: Sequence) -> int:
    """Steps 5 to 7, in double precision."""
    params = sequence.sampling
    scaled = (scores.astype(np.float64) - best_score) / params.temperature  # (V,), the best is 0
    u = uniform(sequence.seed, sequence.position)
    if not params.min_p and not params.top_k and params.top_p >= 1:
        return _inverse_cdf(np.exp(scaled).cumsum(), u)
    candidates = _candidates(scaled, params.min_p, params.top_k, params.top_p)
    cumulative = np.exp(scaled[candidates]).cumsum()
    if params.top_p < 1:
        num_kept = int(np.searchsorted(cumulative, params.top_p * cumulative[-1])) + 1
        cumulative = cumulative[:num_kept]
    return int(candidates[_inverse_cdf(cumulative, u)])


def _candidates(scaled: npt.NDArray[np.float64], min_p: float, top_k: int, top_p: float) -> npt.NDArray[np.intp]:
    """Ids that pass min_p and top_k, best first; those that top_p cannot reach may be left out.

    With V tokens and the best one's weight at 1, everything below ln((1 - top_p) / V) weighs less than 1 - top_p together,
    so the nucleus lies above it: nothing has to be sorted but what may be drawn.
    """
    size = len(scaled)
    floor = math.log(min_p) if min_p else -math.inf
    if top_k and top_k < size:
        floor = max(floor, float(np.partition(scaled, size - top_k)[size - top_k]))
    if top_p < 1:
        floor = max(floor, math.log((1 - top_p) / size))
    passing = np.flatnonzero(scaled >= floor)
    candidates = passing[np.argsort(-scaled[passing], kind="stable")]
    return candidates[:top_k] if top_k else candidates


def _inverse_cdf(cumulative: npt.NDArray[np.float64], u: float) -> int:
    """The first index whose cumulative weight exceeds u of the total: one that has weight."""
    last = int(np.searchsorted(cumulative, cumulative[-1]))  # rounding must not lead past the last weight
    return min(int(np.searchsorted(cumulative, u * cumulative[-1], side="right")), last)


def _best(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """The ids of the `count` largest values, best first, ties by id."""
    if not count:
        return np.empty(0, np.intp)
    size = len(values)
    floor = np.partition(values, size - count)[size - count] if count < size else -math.inf
    passing = np.flatnonzero(values >= floor)
    return passing[np.argsort(-values[passing], kind="stable")][:count]
