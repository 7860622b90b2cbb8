"""Sampling parameters come from the request, else the model's defaults, else values without effect."""

import pytest

from onward_server.completion.sampling_defaults import resolve
from onward_server.domain import FinishReason
from onward_server.sampling import PARAMETERS, SamplingOverrides, SamplingParams, SamplingValue

NEUTRAL = SamplingParams(max_tokens=50, seed=9)
TWO_VALUES: dict[str, tuple[SamplingValue, SamplingValue]] = {
    "temperature": (0.5, 0.0),
    "top_p": (0.9, 1.0),
    "top_k": (40, 0),
    "min_p": (0.1, 0.0),
    "frequency_penalty": (1.0, 0.0),
    "presence_penalty": (-1.0, 0.0),
    "repetition_penalty": (1.2, 1.0),
    "max_tokens": (30, 1),
    "min_tokens": (3, 0),
    "stop": (("a",), ("b",)),
    "stop_token_ids": ((1,), (2,)),
    "include_stop": (True, False),
    "ignore_eos": (True, False),
    "logit_bias": (((1, 2.0),), ((3, 4.0),)),
    "seed": (7, 0),
}
"""The second value is falsy where a set value can be."""


def resolved(asked: SamplingOverrides, model: SamplingOverrides) -> SamplingParams:
    return resolve(asked, model, window_left=50, new_seed=9)[0]


def test_every_parameter_has_two_values_here() -> None:
    assert list(TWO_VALUES) == list(PARAMETERS)


@pytest.mark.parametrize("name", TWO_VALUES)
def test_a_parameter_comes_from_the_request_then_the_model_then_is_neutral(name: str) -> None:
    one, other = TWO_VALUES[name]
    assert getattr(resolved({name: other}, {name: one}), name) == other
    assert getattr(resolved({}, {name: one}), name) == one
    assert getattr(resolved({}, {}), name) == getattr(NEUTRAL, name)


@pytest.mark.parametrize(
    ("asked", "model", "max_tokens", "reason"),
    [
        (None, None, 50, FinishReason.CONTEXT_LENGTH),
        (20, None, 20, FinishReason.LENGTH),
        (50, None, 50, FinishReason.LENGTH),
        (None, 20, 20, FinishReason.LENGTH),
        (None, 50, 50, FinishReason.LENGTH),
        (None, 51, 50, FinishReason.CONTEXT_LENGTH),
        (20, 51, 20, FinishReason.LENGTH),
    ],
)
def test_the_lowest_limit_decides_the_finish_reason(
    asked: int | None, model: int | None, max_tokens: int, reason: FinishReason
) -> None:
    params, length_reason = resolve(setting(asked), setting(model), window_left=50, new_seed=9)

    assert (params.max_tokens, length_reason) == (max_tokens, reason)


def setting(max_tokens: int | None) -> SamplingOverrides:
    return {} if max_tokens is None else {"max_tokens": max_tokens}
