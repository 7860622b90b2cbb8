"""How many tokens of the context window a prompt leaves to the completion."""

from onward_server.domain import CompletionRequest, RawText
from onward_server.errors import FieldViolation, InvalidReason, InvalidRequest
from onward_server.sampling import SamplingParams, override


def tokens_left(
    request: CompletionRequest, context_length: int, num_prompt: int, *, is_lower_bound: bool = False
) -> int:
    """Returns how many tokens can be sampled after the prompt.

    The last sampled token is never an input of the model, so it needs no room in the context window.

    Args:
        request: The request, whose `max_tokens` must fit.
        context_length: Tokens in the context window.
        num_prompt: Tokens in the prompt.
        is_lower_bound: Whether the prompt may have more than `num_prompt` tokens, as it has not been encoded.

    Raises:
        InvalidRequest: Fewer tokens than `max_tokens` fit, or none at all.
    """
    left = context_length - num_prompt + 1
    asked = override(SamplingParams(max_tokens=1, seed=0), request.sampling).max_tokens
    if left >= asked:
        return left
    violation = FieldViolation(
        field="sampling.max_tokens" if left >= 1 else _prompt_field(request),
        description=f"the prompt has {'at least ' if is_lower_bound else ''}{num_prompt} tokens and {asked} more are "
        f"requested; the sum must be at most {context_length + 1}, the context length plus one",
        reason=InvalidReason.CONTEXT_LENGTH_EXCEEDED,
    )
    figures = {
        "min_prompt_tokens" if is_lower_bound else "prompt_tokens": str(num_prompt),
        "requested_tokens": str(asked),
        "context_length": str(context_length),
    }
    raise InvalidRequest([violation], figures)


def _prompt_field(request: CompletionRequest) -> str:
    if request.messages:
        return "messages"
    return "raw_prompt.text" if isinstance(request.raw_prompt, RawText) else "raw_prompt.token_ids.ids"
