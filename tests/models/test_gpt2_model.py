"""A GPT-2 style graph with random weights computes what plain numpy computes from the same weights."""

import itertools

import numpy as np
import pytest

from tests.gpt2_model import SHAPE, random_gpt2_weights, write_gpt2_model
from tests.naive_decoder import NaiveDecoder
from tests.reference_gpt2 import Gpt2Reference

SEEDS = (1, 2, 3)
NO_NEAR_TIE = 1e-4
"""float32 and float64 agree on the likeliest token where it leads by this much."""


def decoder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> NaiveDecoder:
    folder = write_gpt2_model(tmp_path_factory.mktemp("gpt2"), random_gpt2_weights(seed=seed))
    return NaiveDecoder(folder / "model.onnx")


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_equal_those_of_the_reference(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    token_ids = np.random.default_rng(seed).integers(0, SHAPE.vocab_size, (5, SHAPE.max_positions))
    logits, _ = decoder(tmp_path_factory, seed).forward(token_ids)
    np.testing.assert_allclose(logits, Gpt2Reference(random_gpt2_weights(seed=seed)).logits(token_ids), atol=5e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_tokens_equal_those_of_the_reference_for_every_prompt_of_six(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    prompts = np.array(list(itertools.product(range(SHAPE.vocab_size), repeat=6)))
    expected, margin = Gpt2Reference(random_gpt2_weights(seed=seed)).greedy(prompts, 6)
    assert margin > NO_NEAR_TIE
    assert len(np.unique(expected, axis=0)) > 10
    gpt2 = decoder(tmp_path_factory, seed)
    logits, caches = gpt2.forward(prompts)
    sampled = [logits[:, -1].argmax(axis=-1)]
    while len(sampled) < 6:
        logits, caches = gpt2.forward(sampled[-1][:, None], caches)
        sampled.append(logits[:, -1].argmax(axis=-1))
    np.testing.assert_array_equal(np.stack(sampled, axis=1), expected)
