"""What counts as a long request, which is worked on off the event loop."""

import pytest

from service.completion.prompt import is_long
from service.domain import CompletionRequest, FunctionTool, Message, RawText, RawTokens, Role, ToolCall

LONG = "x" * 5000

LONG_REQUESTS = {
    "raw text": CompletionRequest(raw_prompt=RawText(text=LONG)),
    "raw tokens": CompletionRequest(raw_prompt=RawTokens(ids=(1,) * 5000)),
    "content": CompletionRequest(messages=(Message(role=Role.USER, content=(LONG,)),)),
    "reasoning": CompletionRequest(messages=(Message(role=Role.ASSISTANT, reasoning=LONG),)),
    "a name": CompletionRequest(messages=(Message(role=Role.USER, name=LONG),)),
    "arguments": CompletionRequest(
        messages=(Message(role=Role.ASSISTANT, tool_calls=(ToolCall(id="a", name="f", arguments=LONG),)),)
    ),
    "parameters": CompletionRequest(tools=(FunctionTool(name="f", parameters=LONG),)),
    "a description": CompletionRequest(tools=(FunctionTool(name="f", description=LONG),)),
}


@pytest.mark.parametrize("request_", LONG_REQUESTS.values(), ids=LONG_REQUESTS.keys())
def test_whatever_makes_a_request_long_counts(request_: CompletionRequest) -> None:
    assert is_long(request_)


def test_a_usual_request_is_not_long() -> None:
    assert not is_long(CompletionRequest(messages=(Message(role=Role.USER, content=("Hello",)),)))
