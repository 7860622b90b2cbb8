"""Resolves sampling parameters: the request's, else the model's, else neutral ones; it draws nothing."""

from typing import TypeVar

from onward_server.domain import FinishReason, SamplingOverrides, SamplingParams

T = TypeVar("T")


def resolve(
    asked: SamplingOverrides, model: SamplingOverrides, *, window_left: int, new_seed: int
) -> tuple[SamplingParams, FinishReason]:
    """The parameters that a request runs with, and what reaching their `max_tokens` means.

    `window_left`: answer tokens that fit behind the prompt, at least 1. An unset `max_tokens` is clipped to it.
    """
    max_tokens = _first(asked.max_tokens, model.max_tokens, window_left)
    window_decides = asked.max_tokens is None and (model.max_tokens is None or model.max_tokens > window_left)
    params = SamplingParams(
        temperature=_first(asked.temperature, model.temperature, 1.0),
        top_p=_first(asked.top_p, model.top_p, 1.0),
        top_k=_first(asked.top_k, model.top_k, 0),
        min_p=_first(asked.min_p, model.min_p, 0.0),
        frequency_penalty=_first(asked.frequency_penalty, model.frequency_penalty, 0.0),
        presence_penalty=_first(asked.presence_penalty, model.presence_penalty, 0.0),
        repetition_penalty=_first(asked.repetition_penalty, model.repetition_penalty, 1.0),
        max_tokens=min(max_tokens, window_left),
        min_tokens=_first(asked.min_tokens, model.min_tokens, 0),
        stop=asked.stop or model.stop,
        stop_token_ids=asked.stop_token_ids or model.stop_token_ids,
        include_stop=_first(asked.include_stop, model.include_stop, default=False),
        ignore_eos=_first(asked.ignore_eos, model.ignore_eos, default=False),
        logit_bias=asked.logit_bias or model.logit_bias,
        seed=_first(asked.seed, model.seed, new_seed),
    )
    return params, FinishReason.CONTEXT_LENGTH if window_decides else FinishReason.LENGTH


def _first(asked: T | None, model: T | None, default: T) -> T:
    if asked is not None:
        return asked
    return default if model is None else model
