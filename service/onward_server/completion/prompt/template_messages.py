"""Messages and tools in the form that chat templates read; it does not render them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import cast

from onward_server.domain import FunctionTool, Message, Role, ToolCall

TemplateValue = Mapping[str, object]

_NO_ARGUMENTS = '{"type": "object", "properties": {}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a template wants where templates differ; `template_dialect` finds it out."""

    content_is_parts: bool = False
    """Text is taken as a list of parts only."""
    arguments_are_text: bool = False
    """Arguments of tool calls are taken as JSON text, not as an object."""
    no_content_is_none: bool = False
    """A message that has tool calls alone has no content, rather than an empty one."""
    reasoning_is_part: bool = False
    """Reasoning is taken as a part of the content, rather than beside it."""
    takes_system: bool = True
    takes_many_systems: bool = False
    """Each leading system message is rendered; else they are merged."""
    takes_tools: bool = False
    takes_tool_calls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What is done to strings on their way into a template: nothing, by default."""

    said: Callable[[str], str] = str
    """What callers wrote."""
    answered: Callable[[str], str] = str
    """Content and reasoning of assistant messages, which templates take apart at their own marks."""
    offered: Callable[[str], str] = str
    """Definitions of tools."""


def template_messages(messages: Sequence[Message], dialect: Dialect, wording: Wording) -> list[TemplateValue]:
    """The `messages` of a template."""
    called = {call.id: call.name for message in messages for call in message.tool_calls}
    return [_message(message, called, dialect, wording) for message in _merged(messages, dialect)]


def template_tools(tools: Sequence[FunctionTool], wording: Wording) -> list[TemplateValue] | None:
    """The `tools` of a template; None where there are none."""
    return [
        {
            "type": "function",
            "function": {
                "name": wording.offered(tool.name),
                "description": wording.offered(tool.description),
                "parameters": _worded(json.loads(tool.parameters or _NO_ARGUMENTS), wording.offered),
            },
        }
        for tool in tools
    ] or None


def _merged(messages: Sequence[Message], dialect: Dialect) -> Sequence[Message]:
    systems = list(takewhile(lambda message: message.role is Role.SYSTEM, messages))
    if dialect.takes_many_systems or len(systems) < 2:
        return messages
    merged = replace(systems[0], content=("\n\n".join("".join(system.content) for system in systems),))
    return [merged, *messages[len(systems) :]]


def _message(message: Message, called: Mapping[str, str], dialect: Dialect, wording: Wording) -> TemplateValue:
    is_answer = message.role is Role.ASSISTANT
    text = (wording.answered if is_answer else wording.said)("".join(message.content))
    reasoning = wording.answered(message.reasoning)
    name = message.name or called.get(message.tool_call_id, "")
    return {
        "role": str(message.role),
        "content": _content(text, reasoning, dialect, has_calls=bool(message.tool_calls)),
        **({"reasoning_content": reasoning, "thinking": reasoning} if reasoning else {}),
        **(
            {"tool_calls": [_call(call, dialect, wording) for call in message.tool_calls]} if message.tool_calls else {}
        ),
        **({"name": wording.said(name)} if name else {}),
        **({"tool_call_id": wording.said(message.tool_call_id)} if message.tool_call_id else {}),
    }


def _content(text: str, reasoning: str, dialect: Dialect, *, has_calls: bool) -> str | list[TemplateValue] | None:
    if reasoning and dialect.reasoning_is_part:
        return [{"type": "thinking", "thinking": reasoning}, *_text_parts(text)]
    if dialect.content_is_parts:
        return list(_text_parts(text))
    return None if not text and has_calls and dialect.no_content_is_none else text


def _text_parts(text: str) -> Iterator[TemplateValue]:
    if text:
        yield {"type": "text", "text": text}


def _call(call: ToolCall, dialect: Dialect, wording: Wording) -> TemplateValue:
    arguments = (
        wording.said(call.arguments)
        if dialect.arguments_are_text
        else _worded(json.loads(call.arguments), wording.said)
    )
    function = {"name": wording.said(call.name), "arguments": arguments}
    return {"id": wording.said(call.id), "type": "function", "function": function}


def _worded(value: object, word: Callable[[str], str]) -> object:
    """A JSON value with all its strings worded, keys too; that it is not nested too deeply, validation has seen to."""
    if isinstance(value, str):
        return word(value)
    if isinstance(value, list):
        return [_worded(item, word) for item in cast(list[object], value)]
    if isinstance(value, dict):
        return {word(key): _worded(item, word) for key, item in cast(dict[str, object], value).items()}
    return value
