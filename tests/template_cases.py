"""Renders conversations with chat templates as the server does."""

import json
from datetime import datetime
from functools import cache
from typing import Any

from onward_server.completion.answer.format_registry import choose_output_format
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.domain import FunctionTool, Message, ReasoningEffort, Role, ToolCall
from onward_server.errors import InvalidRequest
from tests.chat_conversations import NAMED_TOKENS, NOW, Conversation


def compiled_template(source: str) -> ChatTemplate:
    """A template with the named tokens and the time of the conversations."""
    return ChatTemplate({"default": source}, named_tokens=NAMED_TOKENS, clock=lambda: datetime(*NOW))  # noqa: DTZ001


@cache
def template_formats(source: str) -> OutputFormat:
    """The formats that are detected from a template."""
    return choose_output_format(compiled_template(source).render_samples())


def rendered(template: ChatTemplate, conversation: Conversation) -> str:
    """The prompt; without the reasoning effort where the template has no switch for it.

    Raises:
        InvalidRequest: the template rejects the conversation.
    """
    effort = ReasoningEffort(conversation.effort) if conversation.effort else None
    *others, last = conversation.messages
    messages = [*map(domain_message, others), domain_message(last, prefix=conversation.continues)]
    tools = [_function_tool(tool) for tool in conversation.tools]
    try:
        return template.render(messages, tools=tools, reasoning_effort=effort).text
    except InvalidRequest as error:
        if error.violations[0].field != "reasoning_effort":
            raise
        return template.render(messages, tools=tools).text


def domain_message(turn: Any, *, prefix: bool = False) -> Message:  # noqa: ANN401 (JSON)
    """Converts a turn from the form of Hugging Face's renderer to the server's."""
    return Message(
        role=Role(turn["role"]),
        content=(turn["content"],) if turn["content"] else (),
        name=turn.get("name", ""),
        reasoning=turn.get("thinking", ""),
        tool_call_id=turn.get("tool_call_id", ""),
        tool_calls=tuple(
            ToolCall(id=call["id"], name=call["function"]["name"], arguments=json.dumps(call["function"]["arguments"]))
            for call in turn.get("tool_calls", ())
        ),
        prefix=prefix,
    )


def _function_tool(tool: Any) -> FunctionTool:  # noqa: ANN401 (JSON)
    function = tool["function"]
    return FunctionTool(
        name=function["name"], description=function["description"], parameters=json.dumps(function["parameters"])
    )
