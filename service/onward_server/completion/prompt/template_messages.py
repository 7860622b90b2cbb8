"""Converts messages and tools to the values that chat templates read."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import itemgetter
from typing import cast

from onward_server.completion.pending_calls import PendingCalls
from onward_server.domain import FunctionTool, Message, Role, ToolCall
from onward_server.json_value import JsonObject

TemplateValue = Mapping[str, object]
CallWriter = Callable[[Sequence[tuple[str, JsonObject]]], str]
"""Writes tool calls, given as names and arguments, as the model does."""

_NO_ARGUMENTS: dict[str, object] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTraits:
    """The form in which a chat template expects its values, and what it renders; found by `template_probe`."""

    content_as_parts: bool = False
    """Content is a list of parts, not a string."""
    arguments_as_text: bool = False
    """The arguments of tool calls are JSON text, not an object."""
    empty_content_as_none: bool = False
    """A message that has only tool calls has no content, not an empty one."""
    empty_text_as_part: bool = False
    """A message without text has one empty part, because the template rejects it without content."""
    reasoning_as_part: bool = False
    """Reasoning is a part of the content, not a value beside it."""
    supports_system_role: bool = True
    supports_many_system_messages: bool = False
    """Whether the template renders several system messages at the start. If not, they are merged into one."""
    supports_tools: bool = False
    tools_as_xml_tools: bool = False
    """The variable with the tools is named `xml_tools`, as in SmolLM3."""
    tools_in_system_message: bool = False
    """The tools are JSON text in the system message, not a variable of the template."""
    supports_tool_calls: bool = False
    write_calls: CallWriter | None = None
    """Writes tool calls into the content, for a template that does not render them; None: the template renders them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTransforms:
    """Functions applied to the strings of a chat before a template reads them. By default, they change nothing."""

    caller_text: Callable[[str], str] = str
    """Applied to strings that callers wrote."""
    assistant_text: Callable[[str], str] = str
    """Applied to content and reasoning of assistant messages, which some templates split at their own markers."""
    tool_definition: Callable[[str], str] = str
    """Applied to the strings of tool definitions."""


def template_messages(
    messages: Sequence[Message],
    traits: TemplateTraits,
    transforms: TextTransforms,
    tools: Sequence[FunctionTool] = (),
) -> list[TemplateValue]:
    """Returns the value of a template's variable `messages`."""
    values = [_message(message, traits, transforms) for message in _merged(_in_call_order(messages), traits)]
    if traits.tools_in_system_message and (offered := template_tools(tools, transforms)):
        text = json.dumps([tool["function"] for tool in offered], ensure_ascii=False)
        system = (
            values.pop(0) if values and values[0]["role"] == str(Role.SYSTEM) else {"role": "system", "content": ""}
        )
        values.insert(0, {**system, "tools": text})
    return values


def tool_variables(
    tools: Sequence[FunctionTool], traits: TemplateTraits, transforms: TextTransforms
) -> dict[str, object]:
    """Returns the variables of a template that hold the tools."""
    values = template_tools(tools, transforms)
    return {"tools": values, **({"xml_tools": values} if traits.tools_as_xml_tools else {})}


def template_tools(tools: Sequence[FunctionTool], transforms: TextTransforms) -> list[TemplateValue] | None:
    """Returns the value of a template's variable `tools`; None without tools."""
    transform = transforms.tool_definition
    return [
        {
            "type": "function",
            "function": {
                "name": transform(tool.name),
                "description": transform(tool.description),
                "parameters": _transformed(tool.parsed_parameters if tool.parameters else _NO_ARGUMENTS, transform),
            },
        }
        for tool in tools
    ] or None


def _in_call_order(messages: Sequence[Message]) -> Sequence[Message]:
    """Sorts each run of tool messages into the order of the calls that they answer, as templates do not render ids.

    Every tool message gets the id of its call, and by default the name of the called function.
    """
    pending = PendingCalls()
    ordered: list[Message] = []
    run: list[tuple[int, Message]] = []
    for message in messages:
        if message.role is Role.TOOL:
            run.append(_with_call(message, pending))
            continue
        ordered += _sorted_run(run)
        run.clear()
        for call in message.tool_calls:
            pending.add(call)
        ordered.append(message)
    return ordered + _sorted_run(run)


def _with_call(message: Message, pending: PendingCalls) -> tuple[int, Message]:
    answered = pending.answer(message.tool_call_id)
    if answered is None:  # validation rejects such a result
        return 0, message
    position, call = answered
    return position, replace(message, name=message.name or call.name, tool_call_id=call.id)


def _sorted_run(run: Sequence[tuple[int, Message]]) -> list[Message]:
    return [message for _, message in sorted(run, key=itemgetter(0))]


def _merged(messages: Sequence[Message], traits: TemplateTraits) -> Sequence[Message]:
    systems = list(takewhile(lambda message: message.role is Role.SYSTEM, messages))
    if traits.supports_many_system_messages or len(systems) < 2:
        return messages
    merged = replace(systems[0], content=("\n\n".join("".join(system.content) for system in systems),))
    return [merged, *messages[len(systems) :]]


def _message(message: Message, traits: TemplateTraits, transforms: TextTransforms) -> TemplateValue:
    is_assistant = message.role is Role.ASSISTANT
    text = (transforms.assistant_text if is_assistant else transforms.caller_text)("".join(message.content))
    reasoning = transforms.assistant_text(message.reasoning)
    if traits.write_calls is not None and message.tool_calls:
        text += traits.write_calls([_written_call(call, transforms) for call in message.tool_calls])
        calls = []
    else:
        calls = [_call(call, traits, transforms) for call in message.tool_calls]
    return {
        "role": str(message.role),
        "content": _content(text, reasoning, traits, has_calls=bool(calls)),
        **({"reasoning_content": reasoning, "thinking": reasoning} if reasoning else {}),
        **({"tool_calls": calls} if calls else {}),
        **({"name": transforms.caller_text(message.name)} if message.name else {}),
        **({"tool_call_id": transforms.caller_text(message.tool_call_id)} if message.tool_call_id else {}),
    }


def _content(text: str, reasoning: str, traits: TemplateTraits, *, has_calls: bool) -> str | list[TemplateValue] | None:
    if reasoning and traits.reasoning_as_part:
        return [{"type": "thinking", "thinking": reasoning}, *_text_parts(text)]
    if not text and not has_calls and traits.empty_text_as_part:
        return [{"type": "text", "text": ""}]
    if traits.content_as_parts:
        return list(_text_parts(text))
    return None if not text and has_calls and traits.empty_content_as_none else text


def _text_parts(text: str) -> Iterator[TemplateValue]:
    if text:
        yield {"type": "text", "text": text}


def _written_call(call: ToolCall, transforms: TextTransforms) -> tuple[str, JsonObject]:
    arguments = cast(JsonObject, _transformed(call.parsed_arguments, transforms.caller_text))
    return transforms.caller_text(call.name), arguments


def _call(call: ToolCall, traits: TemplateTraits, transforms: TextTransforms) -> TemplateValue:
    transform = transforms.caller_text
    arguments = (
        transform(call.arguments) if traits.arguments_as_text else _transformed(call.parsed_arguments, transform)
    )
    function = {"name": transform(call.name), "arguments": arguments}
    return {"id": transform(call.id), "type": "function", "function": function}


def _transformed(value: object, transform: Callable[[str], str]) -> object:
    """Applies a transform to all strings of a JSON value, keys included. Validation has bounded its nesting."""
    if isinstance(value, str):
        return transform(value)
    if isinstance(value, list):
        return [_transformed(item, transform) for item in cast(list[object], value)]
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return {transform(key): _transformed(item, transform) for key, item in items}
    return value
