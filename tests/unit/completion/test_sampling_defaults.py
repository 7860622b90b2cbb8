"""Which sampling parameters a request runs with: its own, else the model's, else neutral ones."""

import pytest

from onward_server.completion.sampling_defaults import resolve
from onward_server.domain import FinishReason, SamplingOverrides, SamplingParams

NEUTRAL = SamplingParams(max_tokens=50, seed=9)
OTHERS = {
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
"""Of every parameter, two values that are not None; the second is falsy where one can be."""


def resolved(asked: SamplingOverrides, model: SamplingOverrides) -> SamplingParams:
    return resolve(asked, model, window_left=50, new_seed=9)[0]


def only(name: str, value: object) -> SamplingOverrides:
    return SamplingOverrides(**{name: value})  # type: ignore[arg-type]


def test_every_parameter_has_two_values_here() -> None:
    assert set(OTHERS) == set(SamplingOverrides.__dataclass_fields__) == set(SamplingParams.__dataclass_fields__)


@pytest.mark.parametrize("name", OTHERS)
def test_a_parameter_is_the_requests_or_the_models_or_neutral(name: str) -> None:
    one, other = OTHERS[name]
    assert getattr(resolved(only(name, other), only(name, one)), name) == other
    assert getattr(resolved(SamplingOverrides(), only(name, one)), name) == one
    assert getattr(resolved(SamplingOverrides(), SamplingOverrides()), name) == getattr(NEUTRAL, name)


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
def test_the_limit_that_is_lowest_says_how_an_answer_ends(
    asked: int | None, model: int | None, max_tokens: int, reason: FinishReason
) -> None:
    params, length_reason = resolve(
        SamplingOverrides(max_tokens=asked), SamplingOverrides(max_tokens=model), window_left=50, new_seed=9
    )
    assert (params.max_tokens, length_reason) == (max_tokens, reason)
