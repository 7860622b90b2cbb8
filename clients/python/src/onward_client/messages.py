"""Builds the messages of a conversation from plain Python values."""

from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

from onward.v1.chat_pb2 import ContentPart, Message, Role, ToolCall
from onward_client.dicts import build, is_dict, json_text, set_fields, without_type
from onward_client.errors import RequestError


class TextPartDict(TypedDict):
    """A `ContentPart` as a dict."""

    type: NotRequired[Literal["text"]]
    text: str


class FunctionCallDict(TypedDict):
    """A `FunctionCall` as a dict; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCallDict(TypedDict):
    """A `ToolCall` as a dict."""

    id: str
    type: NotRequired[Literal["function"]]
    function: FunctionCallDict


class MessageDict(TypedDict):
    """A `Message` as a dict, with the role names that chat APIs share; `developer` means `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: NotRequired[str | Sequence[TextPartDict | ContentPart] | None]
    name: NotRequired[str | None]
    tool_calls: NotRequired[Sequence[ToolCallDict | ToolCall] | None]
    tool_call_id: NotRequired[str | None]
    reasoning: NotRequired[str | None]
    prefix: NotRequired[bool | None]


MessageLike: TypeAlias = Message | MessageDict | str
"""A message; a string is a user message."""

_ROLES = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}


def system(text: str) -> Message:
    """Returns a system message, which instructs the model.

    Args:
        text: The instructions.

    Returns:
        The generated message.

    Example:
        >>> client.complete([system("Your name is Max."), "Hello, who are you?"]).text
        'I am Max.'
    """
    return Message(role=Role.ROLE_SYSTEM, content=text_parts(text))


def user(text: str, *, name: str = "") -> Message:
    """Returns a user message.

    Args:
        text: What the user says.
        name: Name of the user, for chat templates that show it. Default: no name.

    Returns:
        The generated message.

    Example:
        >>> client.complete([user("My name is Anna."), assistant("Hello, Anna!"), user("What is my name?")]).text
        'Your name is Anna.'
    """
    return Message(role=Role.ROLE_USER, content=text_parts(text), name=name)


def assistant(
    text: str = "", *, tool_calls: Iterable[ToolCall] = (), reasoning: str = "", prefix: bool = False
) -> Message:
    """Returns an assistant message: what the model said, or with `prefix`, the beginning of what it will say.

    Args:
        text: The text. Default: no text.
        tool_calls: The tool calls of the message. Default: no calls.
        reasoning: The reasoning before the text. Default: no reasoning.
        prefix: Let the model continue this message instead of starting a new one; only for the last message.
            Default: False.

    Returns:
        The generated message.

    Example:
        >>> client.complete(["What is 7 plus 5?", assistant("7 + 5 =", prefix=True)]).text
        ' 12.'
    """
    return Message(
        role=Role.ROLE_ASSISTANT, content=text_parts(text), tool_calls=tool_calls, reasoning=reasoning, prefix=prefix
    )


def tool_result(call: ToolCall, result: object) -> Message:
    """Returns the message that reports the result of a tool call.

    Args:
        call: The tool call of the model.
        result: What the tool returned. A string is sent as it is, any other value as JSON.

    Returns:
        The generated message.

    Raises:
        RequestError: `result` has no JSON form.

    Example:
        >>> tools = [{"function": {"name": "get_weather", "description": "Get the weather in a city.",
        ...     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
        >>> question = "What is the weather in Rome?"
        >>> completion = client.complete(question, tools=tools)
        >>> (call,) = completion.tool_calls
        >>> client.complete([question, completion.message, tool_result(call, "sunny")], tools=tools).text
        'The weather in Rome is sunny.'
    """
    parts = [ContentPart(text=json_text(result, "tool_result"))]
    return Message(role=Role.ROLE_TOOL, content=parts, name=call.function.name, tool_call_id=call.id)


def text_parts(text: str) -> list[ContentPart]:
    """Returns text as the content of a message; empty text becomes empty content."""
    return [ContentPart(text=text)] if text else []


def text_of(message: Message) -> str:
    """Returns the text of all parts of a message, joined."""
    return "".join(part.text for part in message.content)


def to_messages(messages: str | Iterable[MessageLike]) -> list[Message]:
    """Returns a conversation as protobuf messages; a string is one user message.

    Raises:
        RequestError: A field of a message is unknown or has the wrong type.
    """
    if isinstance(messages, str):
        return [user(messages)]
    return [to_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def to_message(message: MessageLike, path: str = "message") -> Message:
    """Returns a message as protobuf; error messages name it by `path`.

    Raises:
        RequestError: A field is unknown or has the wrong type.
    """
    if isinstance(message, Message):
        return message
    if isinstance(message, str):
        return user(message)
    fields = set_fields(message)
    role = str(fields.get("role"))
    if role not in _ROLES:
        raise RequestError(f"{path}.role: must be one of {', '.join(_ROLES)}, not {role!r}")
    fields["role"] = _ROLES[role]
    content = fields.get("content", ())
    fields["content"] = text_parts(content) if isinstance(content, str) else _typed(content, "text", f"{path}.content")
    fields["tool_calls"] = _typed(fields.get("tool_calls", ()), "function", f"{path}.tool_calls")
    return build(Message, path, fields)


def _typed(items: object, kind: str, path: str) -> list[object]:
    if not isinstance(items, list | tuple):
        raise RequestError(f"{path}: must be a list, not {items!r}")
    listed = cast("Sequence[object]", items)
    return [
        without_type(item, kind, f"{path}[{index}]") if is_dict(item) else item for index, item in enumerate(listed)
    ]
