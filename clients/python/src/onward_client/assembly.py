"""Assembles the events of a stream into a `CompleteResponse`."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message as ProtobufMessage

from onward.v1.chat_pb2 import FunctionCall, Message, Role, ToolCall
from onward.v1.completion_pb2 import (
    Choice,
    ChoiceDelta,
    ChoiceFinish,
    CompleteResponse,
    StreamCompleteResponse,
    StreamStart,
    ToolCallDelta,
)
from onward.v1.usage_pb2 import Usage
from onward_client.messages import text_parts


class Assembly:
    """Builds a response from the events that have arrived so far."""

    def __init__(self) -> None:
        """Creates an empty response."""
        self.is_complete = False
        """Whether the last event has arrived."""
        self._head = CompleteResponse()
        self._choices: dict[int, _Choice] = {}

    def add(self, event: StreamCompleteResponse) -> None:
        """Adds the next event; ignores kinds of events that this client does not know."""
        match event.WhichOneof("event"):
            case "start":
                self._start(event.start)
            case "delta":
                self._choice(event.delta.index).extend(event.delta)
            case "finish":
                self._choice(event.finish.index).finish(event.finish)
            case "end":
                self._head.MergeFrom(CompleteResponse(**_fields(event.end)))
                self.is_complete = True
            case _:
                pass

    def response(self) -> CompleteResponse:
        """Returns a copy of the response so far."""
        response = CompleteResponse()
        response.CopyFrom(self._head)
        response.choices.extend(self._choices[index].to_proto() for index in sorted(self._choices))
        return response

    def _start(self, start: StreamStart) -> None:
        fields = _fields(start)
        counts = {name: fields.pop(name) for name in ("prompt_tokens", "cached_prompt_tokens") if name in fields}
        self._head.MergeFrom(CompleteResponse(usage=Usage(**counts), **fields))

    def _choice(self, index: int) -> "_Choice":
        if index not in self._choices:
            self._choices[index] = _Choice(index)
        return self._choices[index]


@dataclass(slots=True)
class _ToolCall:
    """One tool call so far."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def extend(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.function.name or self.name
        self.arguments.append(delta.function.arguments)

    def to_proto(self) -> ToolCall:
        return ToolCall(id=self.id, function=FunctionCall(name=self.name, arguments="".join(self.arguments)))


class _Choice:
    """One choice so far. Pieces of text are joined only on demand, so that adding one costs the same at any length."""

    def __init__(self, index: int) -> None:
        self._head = Choice(index=index)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: dict[int, _ToolCall] = {}

    def extend(self, delta: ChoiceDelta) -> None:
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        for call in delta.tool_calls:
            self._tool_calls.setdefault(call.index, _ToolCall()).extend(call)
        self._head.logprobs.extend(delta.logprobs)
        self._head.completion_tokens += delta.token_count

    def finish(self, finish: ChoiceFinish) -> None:
        self._head.MergeFrom(Choice(**_fields(finish)))
        if finish.invalid_tool_call and self._tool_calls:
            del self._tool_calls[max(self._tool_calls)]

    def to_proto(self) -> Choice:
        choice = Choice()
        choice.CopyFrom(self._head)
        choice.message.CopyFrom(
            Message(
                role=Role.ROLE_ASSISTANT,
                content=text_parts("".join(self._text)),
                reasoning="".join(self._reasoning),
                tool_calls=[self._tool_calls[index].to_proto() for index in sorted(self._tool_calls)],
            )
        )
        return choice


def _fields(message: ProtobufMessage) -> dict[str, Any]:
    """Returns the set fields of an event; the fields of a response have the same names."""
    return {field.name: value for field, value in message.ListFields()}
