"""Builds the messages of a conversation from plain Python values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, Protocol, TypeAlias, TypedDict, cast

from onward.v1.chat_pb2 import ContentPart, Message, Role, ToolCall
from onward_client.dicts import is_dict, json_text, set_fields, without_type
from onward_client.errors import RequestError, shown
from onward_client.fields import build, items
from onward_client.fields import text as checked_text
from onward_client.schemas import to_plain


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


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """The message of a choice: its parts as plain values. It can be sent back as a message of the next request."""

    proto: Message
    """The generated message."""

    @property
    def role(self) -> Literal["assistant"]:
        """The role."""
        return "assistant"

    @property
    def content(self) -> str:
        """The text, without reasoning and tool calls; empty if there is none."""
        return text_of(self.proto)

    @property
    def reasoning(self) -> str:
        """The model's reasoning; empty if the model wrote none or has no reasoning format."""
        return self.proto.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls that the model asks the caller to make."""
        return self.proto.tool_calls


class HasMessage(Protocol):
    """A `Completion`, or one of its choices."""

    @property
    def message(self) -> AssistantMessage:
        """The assistant message."""
        ...


MessageLike: TypeAlias = Message | MessageDict | AssistantMessage | HasMessage | str
"""A message; a string is a user message, and a completion is its assistant message."""

_ROLES = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}
_SPELLINGS = {"reasoning_content": "reasoning"}
"""Keys of messages that other chat APIs spell differently."""


def system(text: str) -> Message:
    """Returns a system message, which instructs the model.

    Args:
        text: The instructions.

    Returns:
        The generated message.

    Raises:
        RequestError: An argument has the wrong type.

    Example:
        >>> client.complete([system("Your name is Max."), "Hello, who are you?"]).text
        'I am Max.'
    """
    return Message(role=Role.ROLE_SYSTEM, content=_parts(text, "text"))


def user(text: str, *, name: str = "") -> Message:
    """Returns a user message.

    Args:
        text: What the user says.
        name: Name of the user, for chat templates that show it. Default: no name.

    Returns:
        The generated message.

    Raises:
        RequestError: An argument has the wrong type.

    Example:
        >>> client.complete([user("My name is Anna."), assistant("Hello, Anna!"), user("What is my name?")]).text
        'Your name is Anna.'
    """
    return Message(role=Role.ROLE_USER, content=_parts(text, "text"), name=checked_text("name", name))


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

    Raises:
        RequestError: An argument has the wrong type.

    Example:
        >>> client.complete(["What is 7 plus 5?", assistant("7 + 5 =", prefix=True)]).text
        ' 12.'
    """
    fields: dict[str, object] = {"tool_calls": tool_calls, "reasoning": reasoning, "prefix": prefix}
    message = build(Message, "", {"role": Role.ROLE_ASSISTANT, **fields})
    message.content.extend(_parts(text, "text"))
    return message


def tool_result(call: ToolCall | ToolCallDict, result: object) -> Message:
    """Returns the message that reports the result of a tool call.

    Args:
        call: The tool call of the model.
        result: What the tool returned. A string is sent as it is, any other value as JSON. That includes dates and, if
            pydantic is installed, its models, dataclasses, sets and all other types that it knows.

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
    if is_dict(call):
        call = build(ToolCall, "call", _tool_call(call, "call"))
    if not isinstance(call, ToolCall):
        raise RequestError(f"call: must be a tool call of a completion, not {shown(call)}")
    text = checked_text("tool_result", json_text(result, "tool_result", to_plain))
    return Message(role=Role.ROLE_TOOL, content=[ContentPart(text=text)], name=call.function.name, tool_call_id=call.id)


def text_parts(text: str) -> list[ContentPart]:
    """Returns text as the content of a message; empty text becomes empty content."""
    return [ContentPart(text=text)] if text else []


def text_of(message: Message) -> str:
    """Returns the text of all parts of a message, joined."""
    return "".join(part.text for part in message.content)


def to_messages(messages: MessageLike | Iterable[MessageLike]) -> list[Message]:
    """Returns a conversation as protobuf messages; a single message is a conversation of one.

    Raises:
        RequestError: A field of a message is unknown or has the wrong type.
    """
    if isinstance(messages, str | Message | Mapping) or message_of(messages) is not None:
        return [to_message(cast("MessageLike", messages), "messages")]
    return joined(
        (to_message(cast("MessageLike", message), f"messages[{at}]"), message_of(message) is not None)
        for at, message in enumerate(items("messages", messages, "a string, a message or a list of messages"))
    )


def joined(turns: Iterable[tuple[Message, bool]]) -> list[Message]:
    """Returns messages in order. A completion that continues a message with `prefix` is joined with that message.

    Args:
        turns: Each message, and whether it comes from a completion.
    """
    messages: list[Message] = []
    for message, is_completion in turns:
        continues = is_completion and messages and messages[-1].prefix
        messages.append(_continued(messages.pop(), message) if continues else message)
    return messages


def message_of(turn: object) -> Message | None:
    """Returns the message of a completion or choice; None for anything else."""
    said = turn if isinstance(turn, AssistantMessage) else getattr(turn, "message", None)
    return said.proto if isinstance(said, AssistantMessage) else None


def to_message(message: MessageLike, path: str) -> Message:
    """Returns a message as protobuf; error messages name it by `path`.

    Raises:
        RequestError: A field is unknown or has the wrong type.
    """
    if isinstance(message, Message):
        return message
    if isinstance(message, str):
        return Message(role=Role.ROLE_USER, content=_parts(message, path))
    if (said := message_of(message)) is not None:
        return said
    if not is_dict(message):
        raise RequestError(f"{path}: must be a message, a dict, a string or a completion, not {shown(message)}")
    fields = {_SPELLINGS.get(name, name): value for name, value in set_fields(message).items()}
    role = fields.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(f"{path}.role: must be one of {', '.join(_ROLES)}, not {shown(role)}")
    fields["role"] = _ROLES[role]
    fields["content"] = _parts(fields.get("content", ()), f"{path}.content")
    calls = items(f"{path}.tool_calls", fields.get("tool_calls", ()))
    fields["tool_calls"] = [
        _tool_call(call, f"{path}.tool_calls[{at}]") if is_dict(call) else call for at, call in enumerate(calls)
    ]
    return build(Message, path, fields)


def _parts(content: object, path: str) -> list[ContentPart]:
    if isinstance(content, str):
        return text_parts(checked_text(path, content))
    return [_part(part, f"{path}[{at}]") for at, part in enumerate(items(path, content, "a string or a list of parts"))]


def _part(part: object, path: str) -> ContentPart:
    if isinstance(part, str):
        return ContentPart(text=checked_text(path, part))
    if isinstance(part, ContentPart):
        return part
    if not is_dict(part):
        raise RequestError(f"{path}: must be a string or a dict such as {{'text': 'Hi'}}, not {shown(part)}")
    return build(ContentPart, path, without_type(part, "text", path))


def _tool_call(call: Mapping[str, object], path: str) -> dict[str, object]:
    """Returns the fields of a tool call; arguments that are a dict become JSON text."""
    fields = without_type(call, "function", path)
    function = fields.get("function")
    if is_dict(function):
        given = set_fields(function)
        if "arguments" in given and not isinstance(given["arguments"], bytes):
            given["arguments"] = json_text(given["arguments"], f"{path}.function.arguments")
        fields["function"] = given
    return fields


def _continued(begun: Message, rest: Message) -> Message:
    return assistant(
        text_of(begun) + text_of(rest), tool_calls=rest.tool_calls, reasoning=begun.reasoning + rest.reasoning
    )
