"""Each step of the sampler against a plain implementation, and the samples against the distribution."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward_server.engine.generation import GenerationRequest
from onward_server.engine.sampler import raw_logprobs, sample
from onward_server.engine.seeds import MAX_SEED, choice_seed, uniform
from onward_server.engine.sequence import Sequence
from onward_server.errors import LogitsNotFinite
from onward_server.sampling import SamplingParams

V = 50


def sequence(
    seed: int = 0,
    prompt_ids: tuple[int, ...] = (1, 2),
    sampled_ids: tuple[int, ...] = (),
    eos_token_ids: frozenset[int] = frozenset(),
    **sampling: object,
) -> Sequence:
    params: dict[str, Any] = {"max_tokens": 10, "seed": seed, **sampling}
    request = GenerationRequest(
        id="a", prompt_ids=prompt_ids, sampling=SamplingParams(**params), seeds=(seed,), eos_token_ids=eos_token_ids
    )
    return Sequence(request=request, index=0, slot=0, token_ids=list(sampled_ids))


def random_logits(seed: int, *, size: int = V, scale: float = 2.0) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


def plain_scores(logits: npt.NDArray[np.float32], item: Sequence) -> list[float]:
    """Steps 2 to 4 of the documented order of operations, one token at a time, with Python numbers."""
    params = item.sampling
    scores = [float(value) for value in logits]
    if len(item.token_ids) < params.min_tokens:
        for token_id in {*item.request.eos_token_ids, *params.stop_token_ids}:
            scores[token_id] = -math.inf
    for token_id, bias in params.logit_bias:
        scores[token_id] += bias
    for token_id in {*item.prompt_ids, *item.token_ids}:
        score = scores[token_id]
        scores[token_id] = score / params.repetition_penalty if score > 0 else score * params.repetition_penalty
    for token_id in set(item.token_ids):
        count = item.token_ids.count(token_id)
        scores[token_id] -= params.frequency_penalty * count + params.presence_penalty
    return scores


def plain_sample(logits: npt.NDArray[np.float32], item: Sequence) -> int:
    """All steps of the documented order, with Python numbers."""
    params = item.sampling
    scores = plain_scores(logits, item)
    if params.temperature < 1e-5:
        return scores.index(max(scores))
    peak = max(scores)
    weights = {token_id: math.exp((score - peak) / params.temperature) for token_id, score in enumerate(scores)}
    is_filtered = params.min_p or params.top_k or params.top_p < 1
    ranked = sorted(weights, key=lambda token_id: (-weights[token_id], token_id)) if is_filtered else list(weights)
    ranked = [token_id for token_id in ranked if weights[token_id] >= params.min_p]
    ranked = ranked[: params.top_k or None]
    total = sum(weights[token_id] for token_id in ranked)
    kept: list[int] = []
    mass = 0.0
    for token_id in ranked:
        kept.append(token_id)
        mass += weights[token_id]
        if params.top_p < 1 and mass >= params.top_p * total:
            break
    threshold = uniform(item.seed, item.position) * sum(weights[token_id] for token_id in kept)
    for token_id in kept:
        threshold -= weights[token_id]
        if threshold < 0:
            return token_id
    return kept[-1]


@settings(max_examples=300)
@given(
    logits_seed=st.integers(0, 10_000),
    seed=st.integers(-(2**63), 2**63 - 1),
    sampled_ids=st.lists(st.integers(0, V - 1), max_size=6).map(tuple),
    sampling=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.0, 0.3, 1.0, 1.7]),
            "top_p": st.sampled_from([1.0, 0.95, 0.5, 0.01]),
            "top_k": st.sampled_from([0, 1, 5, 49, 50, 1000]),
            "min_p": st.sampled_from([0.0, 0.05, 0.9, 1.0]),
            "frequency_penalty": st.sampled_from([0.0, 0.7, -1.5]),
            "presence_penalty": st.sampled_from([0.0, 1.1, -2.0]),
            "repetition_penalty": st.sampled_from([1.0, 1.3, 0.5]),
            "logit_bias": st.sampled_from([(), ((3, 2.5), (7, -100.0)), ((5, 100.0),)]),
            "min_tokens": st.sampled_from([0, 4]),
            "stop_token_ids": st.sampled_from([(), (3, 9)]),
        }
    ),
)
def test_a_sampled_token_is_what_the_documented_order_of_operations_gives(
    logits_seed: int, seed: int, sampled_ids: tuple[int, ...], sampling: dict[str, Any]
) -> None:
    logits = random_logits(logits_seed)
    before = logits.copy()
    item = sequence(seed, sampled_ids=sampled_ids, eos_token_ids=frozenset({0}), **sampling)
    assert sample(logits, item) == plain_sample(logits, item)
    assert np.array_equal(logits, before)


def test_the_tail_counts_towards_top_p_though_it_is_never_sorted() -> None:
    """Without the weight of the tail in the total, the nucleus would be too small."""
    for logits_seed in range(200):
        logits = random_logits(logits_seed, scale=4.0)
        item = sequence(logits_seed, top_p=0.95)
        assert sample(logits, item) == plain_sample(logits, item)


def test_equal_logits_are_taken_in_order_of_their_ids() -> None:
    assert sample(np.zeros(V, np.float32), sequence(temperature=0.0)) == 0
    sampled_ids = {sample(np.zeros(V, np.float32), sequence(seed, top_k=3)) for seed in range(50)}
    assert sampled_ids == {0, 1, 2}


@pytest.mark.parametrize("sampling", [{}, {"top_p": 0.9}, {"min_p": 0.02}, {"top_k": 10}], ids=str)
def test_samples_over_many_seeds_follow_the_distribution(sampling: dict[str, Any]) -> None:
    """Chi-square at 19 degrees of freedom at most: a false alarm has a chance below 1e-6."""
    logits = random_logits(1, size=20, scale=1.0)
    num_samples = 4000
    counts = np.bincount([sample(logits, sequence(seed, **sampling)) for seed in range(num_samples)], minlength=20)
    weights = np.exp(logits.astype(np.float64))
    weights[counts == 0] = 0
    expected = num_samples * weights / weights.sum()
    possible = expected > 0
    assert ((counts - expected)[possible] ** 2 / expected[possible]).sum() < 70


@pytest.mark.parametrize("penalty", [0.0, 5e-324, 1e-45, 1e-38])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_smallest_penalties_favor_seen_tokens_and_stay_finite(penalty: float, temperature: float) -> None:
    """Such a penalty is zero in single precision, and dividing by it would give an infinite logit.

    Zero stands for a thread that flushes denormal numbers to zero.
    """
    logits = random_logits(1)
    logits[:3] = 0, -1, 1
    item = sequence(prompt_ids=(0, 1, 2), repetition_penalty=penalty, temperature=temperature)
    assert sample(logits, item) == 2


def test_a_tiny_top_p_is_greedy() -> None:
    logits = random_logits(5)
    assert {sample(logits, sequence(seed, top_p=1e-9)) for seed in range(20)} == {int(logits.argmax())}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_fail(bad: float, temperature: float) -> None:
    logits = random_logits(1)
    logits[7] = bad
    with pytest.raises(LogitsNotFinite):
        sample(logits, sequence(temperature=temperature))


def test_log_probabilities_are_those_of_the_raw_model() -> None:
    logits = random_logits(2)
    exact = logits.astype(np.float64) - math.log(np.exp(logits.astype(np.float64)).sum())
    got = raw_logprobs(logits, 11, 3)
    assert got.chosen == pytest.approx(exact[11], abs=1e-12)
    best = sorted(range(V), key=lambda token_id: -exact[token_id])[:3]
    assert [token_id for token_id, _ in got.top] == best
    assert [logprob for _, logprob in got.top] == pytest.approx(exact[best], abs=1e-12)


@pytest.mark.parametrize("count", [0, 1, V - 1, V, V + 5])
def test_any_number_of_alternatives_comes_most_likely_first(count: int) -> None:
    """Also when all tokens are asked for, where nothing is partitioned."""
    logits = random_logits(3)
    best = sorted(range(V), key=lambda token_id: -logits[token_id])[:count]
    assert [token_id for token_id, _ in raw_logprobs(logits, 0, count).top] == best


def test_seeds_give_uniform_independent_numbers() -> None:
    """The mean of 20,000 numbers is within four standard errors. The seeds are fixed, so it never fails by chance."""
    numbers = np.array([uniform(seed, position) for seed in range(-50, 50) for position in range(200)])
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert abs(numbers.mean() - 0.5) < 4 * math.sqrt(1 / 12 / len(numbers))
    assert len(set(numbers)) == len(numbers)


def test_the_first_choice_keeps_the_seed_and_the_others_get_their_own() -> None:
    seeds = [choice_seed(-5, index) for index in range(16)]
    assert seeds[0] == -5
    assert len(set(seeds)) == 16
    assert all(0 <= seed < MAX_SEED for seed in seeds[1:])
