"""What a call gave: the generated response in a light wrapper; it does not know how calls are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar, cast

from google.protobuf.message import Message as ProtobufMessage

from onward.v1 import usage_pb2
from onward.v1.chat_pb2 import Message, ToolCall
from onward.v1.completion_pb2 import Choice, CompleteResponse
from onward_client.errors import LengthFinishError, OutputError, OutputValidationError
from onward_client.messages import text_of
from onward_client.schemas import name_of, validate

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""gRPC metadata, in the order it came."""

FinishReason: TypeAlias = Literal[
    "unspecified", "stop", "length", "context_length", "tool_calls", "time_limit", "invalid_tool_call", "unknown"
]
"""Why an answer ended: `onward.v1.FinishReason` in lower case; unknown is one that this client is too old for."""

ResponseT = TypeVar("ResponseT", bound=ProtobufMessage)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply(Generic[ResponseT]):
    """A response and what came with it."""

    proto: ResponseT
    """The generated message."""
    request_id: str
    """What the server's log calls this call."""
    metadata: Metadata
    """Initial and trailing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    proto: Choice

    @property
    def message(self) -> Message:
        """The whole answer, as the next request takes it."""
        return self.proto.message

    @property
    def text(self) -> str:
        """The text of the answer."""
        return text_of(self.proto.message)

    @property
    def reasoning(self) -> str:
        """What the model thought before it answered."""
        return self.proto.message.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The calls that the model asks for."""
        return self.proto.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended."""
        value = usage_pb2.FinishReason.DESCRIPTOR.values_by_number.get(self.proto.finish_reason)
        name = value.name.removeprefix("FINISH_REASON_").lower() if value else "unknown"
        return cast("FinishReason", name)


@dataclass(frozen=True, slots=True)
class Completion(Reply[CompleteResponse]):
    """A finished completion, or with a stream, what has come of it so far."""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All `n` answers; what follows here is of the first."""
        return tuple(Answer(choice) for choice in self.proto.choices)

    @property
    def message(self) -> Message:
        """The whole answer, as the next request takes it."""
        return self._answer(0).message

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self._answer(0).text

    @property
    def reasoning(self) -> str:
        """What the model thought before it answered."""
        return self._answer(0).reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The calls that the model asks for."""
        return self._answer(0).tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the answer ended."""
        return self._answer(0).finish_reason

    @property
    def usage(self) -> usage_pb2.Usage:
        """Token counts over all answers."""
        return self.proto.usage

    def parse(self, kind: type[T], index: int = 0) -> T:
        """The value of type `kind` that the answer writes in JSON.

        Raises:
            LengthFinishError: the answer was cut off.
            OutputValidationError: it does not match the type.
            OutputError: it calls tools instead.
        """
        answer = self._whole_answer(index)
        if answer.tool_calls:
            raise OutputError(f"the answer calls {', '.join(call.function.name for call in answer.tool_calls)}", self)
        return validate(kind, answer.text, self)

    def parse_tool_calls(self, *kinds: type[T], index: int = 0) -> list[T]:
        """The arguments of each call, as the one of `kinds` that has the call's name.

        Raises:
            LengthFinishError: the answer was cut off.
            OutputValidationError: a call is broken, has another name, or its arguments do not match the type.
        """
        by_name = {name_of(kind): kind for kind in kinds}
        parsed: list[T] = []
        for call in self._whole_answer(index).tool_calls:
            function = call.function
            if function.name not in by_name:
                raise OutputValidationError(
                    f"the answer calls {function.name!r}, which is none of {', '.join(by_name)}",
                    self,
                    function.arguments,
                    None,
                )
            parsed.append(validate(by_name[function.name], function.arguments, self))
        return parsed

    def _answer(self, index: int) -> Answer:
        """An answer; an empty one while a stream has not begun it."""
        return Answer(self.proto.choices[index] if index < len(self.proto.choices) else Choice())

    def _whole_answer(self, index: int) -> Answer:
        answer = self._answer(index)
        if answer.finish_reason in {"length", "context_length", "time_limit"}:
            raise LengthFinishError(f"the answer was cut off: {answer.finish_reason}", self)
        if answer.finish_reason == "invalid_tool_call":
            broken = answer.proto.invalid_tool_call
            raise OutputValidationError(f"the answer has a tool call that cannot be read: {broken}", self, broken, None)
        return answer


@dataclass(frozen=True, slots=True)
class ParsedCompletion(Completion, Generic[T]):
    """A completion whose answer is a value of a type, or calls tools before it gives one."""

    kind: type[T]
    values: tuple[T, ...]

    @property
    def parsed(self) -> T:
        """The value; of an answer that calls tools there is none, which raises `OutputError`."""
        return self.values[0] if self.values else self.parse(self.kind)


def to_reply(proto: ResponseT, request_id: str, *metadata: Iterable[tuple[str, str | bytes]]) -> Reply[ResponseT]:
    """The reply to a call that was sent as `request_id`, which the server may have replaced."""
    pairs = tuple((key, value) for part in metadata for key, value in part)
    return Reply(proto, str(dict(pairs).get("x-request-id", request_id)), pairs)


def to_completion(reply: Reply[CompleteResponse]) -> Completion:
    """The reply, read as a completion."""
    return Completion(reply.proto, reply.request_id, reply.metadata)


def to_parsed(kind: type[T], completion: Completion) -> ParsedCompletion[T]:
    """The completion with its first answer read; one that calls tools is left for `parse_tool_calls`."""
    values = () if completion.tool_calls else (completion.parse(kind),)
    return ParsedCompletion(completion.proto, completion.request_id, completion.metadata, kind, values)
