"""A `CompleteResponse` put together from the events of a stream; it does not know where they come from."""

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
    """What has come of a response so far."""

    def __init__(self) -> None:
        """Starts empty."""
        self.is_complete = False
        """Whether the last event has come."""
        self._head = CompleteResponse()
        self._answers: dict[int, _Answer] = {}

    def add(self, event: StreamCompleteResponse) -> None:
        """Takes the next event; a kind that this client is too old for changes nothing."""
        match event.WhichOneof("event"):
            case "start":
                self._start(event.start)
            case "delta":
                self._answer(event.delta.index).extend(event.delta)
            case "finish":
                self._answer(event.finish.index).finish(event.finish)
            case "end":
                self._head.MergeFrom(CompleteResponse(**_fields(event.end)))
                self.is_complete = True
            case _:
                pass

    def response(self) -> CompleteResponse:
        """The response so far; a copy."""
        response = CompleteResponse()
        response.CopyFrom(self._head)
        response.choices.extend(self._answers[index].choice() for index in sorted(self._answers))
        return response

    def _start(self, start: StreamStart) -> None:
        fields = _fields(start)
        counts = {name: fields.pop(name) for name in ("prompt_tokens", "cached_prompt_tokens") if name in fields}
        self._head.MergeFrom(CompleteResponse(usage=Usage(**counts), **fields))

    def _answer(self, index: int) -> "_Answer":
        if index not in self._answers:
            self._answers[index] = _Answer(index)
        return self._answers[index]


@dataclass(slots=True)
class _Call:
    """One tool call so far."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])

    def extend(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.function.name or self.name
        self.arguments.append(delta.function.arguments)

    def call(self) -> ToolCall:
        return ToolCall(id=self.id, function=FunctionCall(name=self.name, arguments="".join(self.arguments)))


class _Answer:
    """One answer so far; pieces are joined when they are asked for, so that a long one costs no more a piece."""

    def __init__(self, index: int) -> None:
        self._choice = Choice(index=index)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _Call] = {}

    def extend(self, delta: ChoiceDelta) -> None:
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        for call in delta.tool_calls:
            self._calls.setdefault(call.index, _Call()).extend(call)
        self._choice.logprobs.extend(delta.logprobs)
        self._choice.completion_tokens += delta.token_count

    def finish(self, finish: ChoiceFinish) -> None:
        self._choice.MergeFrom(Choice(**_fields(finish)))
        if finish.invalid_tool_call and self._calls:
            del self._calls[max(self._calls)]

    def choice(self) -> Choice:
        choice = Choice()
        choice.CopyFrom(self._choice)
        choice.message.CopyFrom(
            Message(
                role=Role.ROLE_ASSISTANT,
                content=text_parts("".join(self._text)),
                reasoning="".join(self._reasoning),
                tool_calls=[self._calls[index].call() for index in sorted(self._calls)],
            )
        )
        return choice


def _fields(message: ProtobufMessage) -> dict[str, Any]:
    """What is set in an event; the fields of a response have the same names."""
    return {field.name: value for field, value in message.ListFields()}
