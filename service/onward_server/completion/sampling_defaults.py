"""Resolves sampling parameters: the request's own, else the model's defaults, else values without effect."""

from onward_server.domain import FinishReason
from onward_server.sampling import SamplingOverrides, SamplingParams, override


def resolve(
    asked: SamplingOverrides, model: SamplingOverrides, *, window_left: int, new_seed: int
) -> tuple[SamplingParams, FinishReason]:
    """Returns the parameters that a request runs with, and the finish reason for reaching their `max_tokens`.

    Args:
        asked: The parameters that the request sets.
        model: The defaults of the model.
        window_left: Tokens that fit in the context window after the prompt, at least 1. The model's default of
            `max_tokens` is clipped to it.
        new_seed: The seed for a request that sets none.
    """
    params = override(SamplingParams(max_tokens=window_left, seed=new_seed), model, asked)
    if "max_tokens" in asked:
        return params, FinishReason.LENGTH
    if "max_tokens" in model and params.max_tokens <= window_left:
        return params, FinishReason.LENGTH
    return override(params, {"max_tokens": window_left}), FinishReason.CONTEXT_LENGTH
