"""From logits to a token, one row at a time; it does not know other rows, so what they do cannot matter.

Order of operations:
    1. log probabilities are taken from the raw logits
    2. what the constraint does not allow is blocked; so are end-of-sequence and stop tokens while `min_tokens` is not
       reached, unless the constraint allows nothing else
    3. logit_bias
    4. repetition_penalty (prompt and answer), frequency_penalty and presence_penalty (answer)
    5. temperature; under 1e-5 the best token is taken, ties by lowest id, and what follows is skipped
    6. min_p, then top_k, then top_p over what is left, renormalised
    7. one uniform u = hash(choice seed, position); inverse of the cumulative distribution, in order of descending
       probability, ties by id; where nothing was filtered, in order of id
"""

import math

import numpy as np
import numpy.typing as npt

from onward_server.engine import logits_processors
from onward_server.engine.generation import RawLogprobs
from onward_server.engine.seeds import uniform
from onward_server.engine.sequence import Sequence
from onward_server.errors import EngineFailed
from onward_server.grammar.matcher import Mask, apply_mask

_GREEDY_TEMPERATURE = 1e-5

Row = npt.NDArray[np.float32]  # (V,)
TokenIndices = npt.NDArray[np.intp]


def sample(logits: Row, sequence: Sequence, mask: Mask | None = None) -> int:
    """Draws the next token of a sequence, one that `mask` allows.

    Raises:
        EngineFailed: the logits are not numbers.
    """
    scores = _processed(logits, sequence, mask)
    best = int(scores.argmax())
    check(float(scores[best]))
    if sequence.sampling.temperature < _GREEDY_TEMPERATURE:
        return best
    return _draw(scores, float(scores[best]), sequence)


def check(logit: float) -> None:
    """A logit that is taken must be a number.

    Raises:
        EngineFailed: it is none.
    """
    if not math.isfinite(logit):
        raise EngineFailed(f"the model gave a logit of {logit}")


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


def _processed(logits: Row, sequence: Sequence, mask: Mask | None) -> Row:
    """The logits with everything before temperature applied: a copy where anything is."""
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
    """Tokens that must not be drawn now because they would end the sequence.

    Under a constraint, `ignore_eos` has to block what it elsewhere lets pass: nothing can follow an end there.
    """
    params, eos_token_ids = sequence.sampling, sequence.request.eos_token_ids
    blocked: set[int] = set()
    if ends_are_blocked(sequence):
        blocked |= {*params.stop_token_ids, *(() if params.ignore_eos else eos_token_ids)}
    if params.ignore_eos and sequence.matcher is not None:
        blocked |= eos_token_ids
    return blocked


def _draw(scores: Row, best_score: float, sequence: Sequence) -> int:
    """Steps 5 to 7, in double precision."""
    params = sequence.sampling
    scaled = (scores.astype(np.float64) - best_score) / params.temperature  # (V,), the best is 0
    u = uniform(sequence.seed, sequence.position)
    if not params.min_p and not params.top_k and params.top_p >= 1:
        return _inverse_cdf(_cumulative_weights(scaled), u)
    candidates = _candidates(scaled, params.min_p, params.top_k)
    if params.top_p < 1:
        candidates = _nucleus(scaled, candidates, params.top_p)
    ranked = _best_first(scaled, candidates)
    return int(ranked[_inverse_cdf(_cumulative_weights(scaled[ranked]), u)])


def _candidates(scaled: npt.NDArray[np.float64], min_p: float, top_k: int) -> TokenIndices:
    """Ids that pass min_p and top_k."""
    size = len(scaled)
    floor = math.log(min_p) if min_p else -math.inf
    if not top_k or top_k >= size:
        return np.flatnonzero(scaled >= floor)
    floor = max(floor, float(np.partition(scaled, size - top_k)[size - top_k]))
    return _best_first(scaled, np.flatnonzero(scaled >= floor))[:top_k]


def _nucleus(scaled: npt.NDArray[np.float64], candidates: TokenIndices, top_p: float) -> TokenIndices:
    """The fewest best candidates that hold `top_p` of their mass.

    The best one weighs 1, so what lies below ln((1 - top_p) / size) weighs less than 1 - top_p of all together: the
    nucleus lies above it, and the long tail need not be sorted.
    """
    total = float(np.exp(scaled[candidates]).sum())
    upper = candidates[scaled[candidates] >= math.log((1 - top_p) / len(candidates))]
    ranked = _best_first(scaled, upper)
    cumulative = _cumulative_weights(scaled[ranked])
    return ranked[: int(np.searchsorted(cumulative, top_p * total)) + 1]


def _best_first(scaled: npt.NDArray[np.float64], token_ids: TokenIndices) -> TokenIndices:
    """Ids by descending score, ties by id."""
    ascending = np.sort(token_ids)
    return ascending[np.argsort(-scaled[ascending], kind="stable")]


def _cumulative_weights(scaled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cumsum(np.exp(scaled), dtype=np.float64)


def _inverse_cdf(cumulative: npt.NDArray[np.float64], u: float) -> int:
    """The first index whose cumulative weight exceeds u of the total: one that has weight."""
    total = float(cumulative[-1])
    last = int(np.searchsorted(cumulative, total))  # rounding must not lead past the last weight
    return min(int(np.searchsorted(cumulative, u * total, side="right")), last)


def _best(values: npt.NDArray[np.float64], count: int) -> TokenIndices:
    """The ids of the `count` largest values, best first, ties by id."""
    return _best_first(values, _candidates(values, 0.0, count)) if count else np.empty(0, np.intp)
