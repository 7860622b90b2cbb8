"""Resolves sampling parameters: what the request says, else what the model says, else neutral values; it draws nothing."""

import dataclasses

from service.domain import FinishReason, SamplingOverrides, SamplingParams

_UNSET: tuple[object, ...] = (None, ())


def resolve(
    asked: SamplingOverrides, model: SamplingOverrides, *, window_left: int, new_seed: int
) -> tuple[SamplingParams, FinishReason]:
    """The parameters that a request runs with, and what reaching their `max_tokens` means.

    `window_left`: answer tokens that fit behind the prompt, at least 1. An unset `max_tokens` is clipped to it.
    """
    given = {
        field.name: value
        for field in dataclasses.fields(SamplingOverrides)
        for value in [_first_set(getattr(asked, field.name), getattr(model, field.name))]
        if value not in _UNSET
    }
    max_tokens = min(given.get("max_tokens", window_left), window_left)
    reason = FinishReason.LENGTH
    if asked.max_tokens is None and max_tokens == window_left and max_tokens != model.max_tokens:
        reason = FinishReason.CONTEXT_LENGTH
    seed = given.get("seed", new_seed)
    return SamplingParams(**{**given, "max_tokens": max_tokens, "seed": seed}), reason


def _first_set(asked: object, model: object) -> object:
    return model if asked in _UNSET else asked
