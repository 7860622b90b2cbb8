"""The output context of a chat request."""

import pytest

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.domain import (
    CompletionRequest,
    FunctionTool,
    JsonObjectFormat,
    Message,
    Role,
    ToolChoice,
    ToolChoiceMode,
)

QUESTION = Message(role=Role.USER, content=("What now?",))
TOOLS = (FunctionTool(name="now"), FunctionTool(name="today"))


@pytest.mark.parametrize(
    ("last", "part"),
    [
        (QUESTION, None),
        (Message(role=Role.ASSISTANT, content=("It",), prefix=True), MessagePart.CONTENT),
        (Message(role=Role.ASSISTANT, content=("It",), reasoning="Hm", prefix=True), MessagePart.CONTENT),
        (Message(role=Role.ASSISTANT, reasoning="Hm", prefix=True), MessagePart.REASONING),
    ],
    ids=["question", "content", "content after reasoning", "reasoning"],
)
def test_a_prefix_leaves_its_last_part_open(last: Message, part: MessagePart | None) -> None:
    assert OutputContext.of_chat(CompletionRequest(messages=(last,)), "prompt").continues is part


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice(), ["now", "today"]),
        (ToolChoice(mode=ToolChoiceMode.NONE), []),
        (ToolChoice(mode=ToolChoiceMode.REQUIRED, function_names=("today",)), ["today"]),
    ],
    ids=["unset", "none", "by name"],
)
def test_only_tools_that_the_choice_allows_may_be_called(choice: ToolChoice, names: list[str]) -> None:
    request = CompletionRequest(messages=(QUESTION,), tools=TOOLS, tool_choice=choice)
    assert [tool.name for tool in OutputContext.of_chat(request, "prompt").tools] == names


def test_the_context_has_the_response_format() -> None:
    request = CompletionRequest(messages=(QUESTION,), parallel_tool_calls=False, response_format=JsonObjectFormat())
    assert OutputContext.of_chat(request, "<think>\n") == OutputContext(
        prompt="<think>\n", single_call=True, response_format=JsonObjectFormat()
    )
