"""What counts as a long request, which is worked on off the event loop."""

from dataclasses import replace

import pytest

from onward_server.completion.prompt.builder import is_long
from onward_server.domain import CompletionRequest, FunctionTool, Message, RawText, RawTokens, Role, ToolCall

LONG = "x" * 5000
CALL = ToolCall(id="a", name="f", arguments="{}")


def said(message: Message) -> CompletionRequest:
    return CompletionRequest(messages=(message,))


def called(call: ToolCall) -> CompletionRequest:
    return said(Message(role=Role.ASSISTANT, tool_calls=(call,)))


def offered(tool: FunctionTool) -> CompletionRequest:
    return CompletionRequest(tools=(tool,))


LONG_REQUESTS = {
    "raw text": CompletionRequest(raw_prompt=RawText(text=LONG)),
    "raw tokens": CompletionRequest(raw_prompt=RawTokens(ids=(1,) * 5000)),
    "content": said(Message(role=Role.USER, content=(LONG,))),
    "reasoning": said(Message(role=Role.ASSISTANT, reasoning=LONG)),
    "a name": said(Message(role=Role.USER, name=LONG)),
    "a call's id": called(replace(CALL, id=LONG)),
    "a call's name": called(replace(CALL, name=LONG)),
    "arguments": called(replace(CALL, arguments=LONG)),
    "a result's call": said(Message(role=Role.TOOL, tool_call_id=LONG)),
    "a tool's name": offered(FunctionTool(name=LONG)),
    "parameters": offered(FunctionTool(name="f", parameters=LONG)),
    "a description": offered(FunctionTool(name="f", description=LONG)),
    "many messages": CompletionRequest(messages=(Message(role=Role.USER),) * 65),
    "many calls": said(Message(role=Role.ASSISTANT, tool_calls=(CALL,) * 65)),
    "many tools": CompletionRequest(tools=(FunctionTool(name=""),) * 65),
}


@pytest.mark.parametrize("request_", LONG_REQUESTS.values(), ids=LONG_REQUESTS.keys())
def test_whatever_makes_a_request_long_counts(request_: CompletionRequest) -> None:
    """What did not count was rendered on the event loop, up to the 4 MB of a request."""
    assert is_long(request_)


def test_a_usual_request_is_not_long() -> None:
    conversation = [Message(role=Role.USER, content=("Hello",)), Message(role=Role.ASSISTANT, tool_calls=(CALL,))] * 10
    assert not is_long(CompletionRequest(messages=tuple(conversation), tools=(FunctionTool(name="f"),) * 10))
