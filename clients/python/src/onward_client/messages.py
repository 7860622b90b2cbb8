"""Messages of a conversation, made from plain Python values; it knows nothing of calls or answers."""

from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

from onward.v1.chat_pb2 import ContentPart, Message, Role, ToolCall
from onward_client.dicts import build, is_dict, json_text, set_fields, without_type
from onward_client.errors import RequestError


class TextPartDict(TypedDict):
    """A `ContentPart`."""

    type: NotRequired[Literal["text"]]
    text: str


class FunctionCallDict(TypedDict):
    """A `FunctionCall`; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCallDict(TypedDict):
    """A `ToolCall`."""

    id: str
    type: NotRequired[Literal["function"]]
    function: FunctionCallDict


class MessageDict(TypedDict):
    """A `Message`, with the names that chat APIs share."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: NotRequired[str | Sequence[TextPartDict | ContentPart] | None]
    name: NotRequired[str | None]
    tool_calls: NotRequired[Sequence[ToolCallDict | ToolCall] | None]
    tool_call_id: NotRequired[str | None]
    reasoning: NotRequired[str | None]
    prefix: NotRequired[bool | None]


MessageLike: TypeAlias = Message | MessageDict | str
"""A message; a bare string is the user's."""

_ROLES = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}


def system(text: str) -> Message:
    """Instructions from the operator."""
    return Message(role=Role.ROLE_SYSTEM, content=text_parts(text))


def user(text: str, *, name: str = "") -> Message:
    """What the end user says."""
    return Message(role=Role.ROLE_USER, content=text_parts(text), name=name)


def assistant(
    text: str = "", *, tool_calls: Iterable[ToolCall] = (), reasoning: str = "", prefix: bool = False
) -> Message:
    """What the model said, or with `prefix`, how its answer begins."""
    return Message(
        role=Role.ROLE_ASSISTANT, content=text_parts(text), tool_calls=tool_calls, reasoning=reasoning, prefix=prefix
    )


def tool_result(call: ToolCall, result: object) -> Message:
    """What `call` gave; anything but text is sent as JSON."""
    parts = [ContentPart(text=json_text(result, "tool_result"))]
    return Message(role=Role.ROLE_TOOL, content=parts, name=call.function.name, tool_call_id=call.id)


def text_parts(text: str) -> list[ContentPart]:
    """The text as content; empty text is no content."""
    return [ContentPart(text=text)] if text else []


def text_of(message: Message) -> str:
    """The text of all parts."""
    return "".join(part.text for part in message.content)


def to_messages(messages: str | Iterable[MessageLike]) -> list[Message]:
    """The conversation as protobuf; a bare string is one message of the user's."""
    if isinstance(messages, str):
        return [user(messages)]
    return [to_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def to_message(message: MessageLike, path: str = "message") -> Message:
    """The message as protobuf; `path` is what an error calls it.

    Raises:
        RequestError: a field is unknown or has the wrong type.
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
