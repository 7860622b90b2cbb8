"""How much of the context a prompt leaves to its answer, and the refusal where too little; it encodes nothing."""

from onward_server.domain import CompletionRequest, RawText
from onward_server.errors import FieldViolation, InvalidReason, InvalidRequest
from onward_server.sampling import SamplingParams, override


def tokens_left(request: CompletionRequest, context_length: int, num_prompt: int, *, is_bound: bool = False) -> int:
    """Answer tokens that fit behind the prompt: the last one is never fed back, so it needs no room.

    `is_bound`: the prompt was not counted, it has `num_prompt` tokens or more.

    Raises:
        InvalidRequest: fewer than are asked for, or none.
    """
    left = context_length - num_prompt + 1
    asked = override(SamplingParams(max_tokens=1, seed=0), request.sampling).max_tokens
    if left >= asked:
        return left
    violation = FieldViolation(
        field="sampling.max_tokens" if left >= 1 else _prompt_field(request),
        description=f"the prompt has {'at least ' if is_bound else ''}{num_prompt} tokens and {asked} are asked for; "
        f"together, less one, they must fit the context of {context_length}",
        reason=InvalidReason.CONTEXT_LENGTH_EXCEEDED,
    )
    figures = {
        "min_prompt_tokens" if is_bound else "prompt_tokens": str(num_prompt),
        "requested_tokens": str(asked),
        "context_length": str(context_length),
    }
    raise InvalidRequest([violation], figures)


def _prompt_field(request: CompletionRequest) -> str:
    if request.messages:
        return "messages"
    return "raw_prompt.text" if isinstance(request.raw_prompt, RawText) else "raw_prompt.token_ids.ids"
