"""How many tokens a prompt leaves to the completion, and how a prompt that is too long is rejected."""

import pytest

from onward_server.completion.context_window import tokens_left
from onward_server.domain import CompletionRequest, Message, RawText, RawTokens, Role
from onward_server.errors import InvalidReason, InvalidRequest

TEXT = CompletionRequest(raw_prompt=RawText(text="x"))


def asking(max_tokens: int) -> CompletionRequest:
    return CompletionRequest(raw_prompt=RawText(text="x"), sampling={"max_tokens": max_tokens})


@pytest.mark.parametrize(("num_prompt", "left"), [(1, 8), (7, 2), (8, 1)])
def test_the_last_token_needs_no_room(num_prompt: int, left: int) -> None:
    assert tokens_left(TEXT, 8, num_prompt) == left


@pytest.mark.parametrize(
    ("request_", "num_prompt", "field"),
    [
        (asking(3), 7, "sampling.max_tokens"),
        (asking(3), 9, "raw_prompt.text"),
        (TEXT, 9, "raw_prompt.text"),
        (CompletionRequest(raw_prompt=RawTokens(ids=(1,) * 9)), 9, "raw_prompt.token_ids.ids"),
        (CompletionRequest(messages=(Message(role=Role.USER, content=("x",)),)), 9, "messages"),
    ],
)
def test_a_request_that_does_not_fit_is_rejected_with_the_field_to_change(
    request_: CompletionRequest, num_prompt: int, field: str
) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        tokens_left(request_, 8, num_prompt)
    assert [(each.field, each.reason) for each in rejected.value.violations] == [
        (field, InvalidReason.CONTEXT_LENGTH_EXCEEDED)
    ]


def test_the_error_has_the_token_counts() -> None:
    with pytest.raises(
        InvalidRequest, match="the prompt has 7 tokens and 3 more are requested; the sum must be"
    ) as rejected:
        tokens_left(asking(3), 8, 7)
    assert rejected.value.metadata == {"prompt_tokens": "7", "requested_tokens": "3", "context_length": "8"}


def test_a_lower_bound_is_reported_as_such() -> None:
    with pytest.raises(InvalidRequest, match="the prompt has at least 9 tokens") as rejected:
        tokens_left(TEXT, 8, 9, is_lower_bound=True)
    assert rejected.value.metadata == {"min_prompt_tokens": "9", "requested_tokens": "1", "context_length": "8"}
