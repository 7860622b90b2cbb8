"""What a completion returns: a light wrapper around the generated response, and the errors of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, overload

from onward.v1 import completion_pb2, usage_pb2
from onward.v1.chat_pb2 import ToolCall
from onward_client.errors import OnwardError, RequestError, shown
from onward_client.fields import integer
from onward_client.messages import AssistantMessage, text_of
from onward_client.replies import Reply
from onward_client.schemas import check_type, is_type, json_reader, name_of, tool_name_of

FinishReason: TypeAlias = Literal[
    "unspecified", "stop", "length", "context_length", "tool_calls", "time_limit", "invalid_tool_call", "unknown"
]
"""Why a choice ended: `onward.v1.FinishReason` in lower case, or `unknown` if this client is too old to know it."""

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class OutputError(OnwardError):
    """The call succeeded, but its output is not what was asked for."""

    def __init__(self, message: str, response: Completion) -> None:
        """Creates the error; `response` keeps everything that the model generated."""
        super().__init__(f"{message} (request id {response.request_id})")
        self.response = response


class LengthFinishError(OutputError):
    """The output ended early, at `max_tokens`, at the context window or at `time_limit`."""


class OutputValidationError(OutputError):
    """The output does not match the type."""

    def __init__(self, message: str, response: Completion, text: str, validation_error: Exception | None) -> None:
        """Creates the error.

        Args:
            message: What is wrong.
            response: The completion.
            text: The text that does not match.
            validation_error: Pydantic's error; None if the text was not validated.
        """
        super().__init__(message, response)
        self.text = text
        self.validation_error = validation_error


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` texts of a completion."""

    proto: completion_pb2.Choice
    """The generated message."""

    @property
    def index(self) -> int:
        """Position in `Completion.choices`."""
        return self.proto.index

    @property
    def message(self) -> AssistantMessage:
        """The assistant message, to send back in the next request."""
        return AssistantMessage(self.proto.message)

    @property
    def text(self) -> str:
        """The text, without reasoning and tool calls."""
        return text_of(self.proto.message)

    @property
    def reasoning(self) -> str:
        """The model's reasoning; empty if the model wrote none or has no reasoning format."""
        return self.proto.message.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls that the model asks the caller to make."""
        return self.proto.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the choice ended."""
        value = usage_pb2.FinishReason.DESCRIPTOR.values_by_number.get(self.proto.finish_reason)
        name = value.name.removeprefix("FINISH_REASON_").lower() if value else "unknown"
        return cast("FinishReason", name)


@dataclass(frozen=True, slots=True)
class Completion(Reply[completion_pb2.CompleteResponse]):
    """A completion: all of it, or the part of a stream that has arrived so far.

    Example:
        >>> completion = client.complete("My name is Anna. What is my name?")
        >>> completion.text, completion.finish_reason, completion.usage.completion_tokens
        ('Anna.', 'stop', 4)
    """

    @property
    def id(self) -> str:
        """The id that the server generated."""
        return self.proto.id

    @property
    def model(self) -> str:
        """The id of the model, never an alias."""
        return self.proto.model

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All `n` choices. The other properties below describe the first one."""
        return tuple(Choice(choice) for choice in self.proto.choices)

    @property
    def message(self) -> AssistantMessage:
        """The assistant message, to send back in the next request."""
        return self._choice(0).message

    @property
    def text(self) -> str:
        """The text, without reasoning and tool calls."""
        return self._choice(0).text

    @property
    def reasoning(self) -> str:
        """The model's reasoning; empty if the model wrote none or has no reasoning format."""
        return self._choice(0).reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls that the model asks the caller to make."""
        return self._choice(0).tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """Why the choice ended."""
        return self._choice(0).finish_reason

    @property
    def usage(self) -> usage_pb2.Usage:
        """Token counts over all choices."""
        return self.proto.usage

    def parse(self, kind: TypeForm[T], index: int = 0) -> T:
        """Returns the JSON text of a choice as a value of a type; needs pydantic.

        Args:
            kind: The type to read.
            index: Which of the `n` choices to read. Default: the first.

        Returns:
            A value of the type.

        Raises:
            LengthFinishError: The output ended early.
            OutputValidationError: The text does not match the type, or a tool call is malformed.
            OutputError: The model made tool calls instead.
            RequestError: JSON cannot express the type, there is no such choice, or pydantic is not installed.

        Example:
            >>> request = "Extract name and city as JSON: Anna lives in Rome."
            >>> client.complete(request, response_format="json_object").parse(dict[str, str])
            {'name': 'Anna', 'city': 'Rome'}
        """
        check_type(kind)
        choice = self._whole_choice(index)
        if choice.tool_calls:
            called = ", ".join(call.function.name for call in choice.tool_calls)
            raise OutputError(f"the model called {called} instead of returning {name_of(kind)}", self)
        return self._read(kind, choice.text)

    @overload
    def parse_tool_calls(self, *kinds: type[T], index: int = 0) -> list[T]: ...

    @overload
    def parse_tool_calls(self, *kinds: Callable[..., object], index: int = 0) -> list[Any]: ...

    def parse_tool_calls(self, *kinds: Any, index: int = 0) -> list[Any]:
        """Returns the arguments of each tool call of a choice as a value of the type that the call names.

        Args:
            *kinds: The types and functions that were offered as `tools`. The arguments for a function are a dict; the
                function is not called.
            index: Which of the `n` choices to read. Default: the first.

        Returns:
            One value per tool call, in order.

        Raises:
            LengthFinishError: The output ended early.
            OutputValidationError: A tool call is malformed, names none of the types, or does not match its type.
            RequestError: One of the types cannot be read from JSON, there is no such choice, or pydantic is not
                installed.

        Example:
            >>> from pydantic import BaseModel
            >>> class get_weather(BaseModel):
            ...     '''Get the weather in a city.'''
            ...     city: str
            >>> completion = client.complete("What is the weather in Rome?", tools=[get_weather])
            >>> completion.parse_tool_calls(get_weather)
            [get_weather(city='Rome')]
        """
        for at, kind in enumerate(kinds):
            if not (is_type(kind) or callable(kind)):
                raise RequestError(f"kinds[{at}]: must be a type or a function, not {shown(kind)}")
        by_name = {tool_name_of(kind): kind for kind in kinds}
        parsed: list[Any] = []
        for call in self._whole_choice(index).tool_calls:
            function = call.function
            if function.name not in by_name:
                message = f"the model called {function.name!r}; expected one of {', '.join(by_name)}"
                raise OutputValidationError(message, self, function.arguments, None)
            parsed.append(self._read(by_name[function.name], function.arguments))
        return parsed

    def _choice(self, index: int) -> Choice:
        """Returns a choice; an empty one if a stream has not begun it."""
        has_begun = index < len(self.proto.choices)
        return Choice(self.proto.choices[index] if has_begun else completion_pb2.Choice())

    def _whole_choice(self, index: int) -> Choice:
        present = range(max(1, len(self.proto.choices)))
        if integer("index", index) not in present:
            raise RequestError(f"index: {index} is outside [0, {present.stop - 1}], the choices of this completion")
        choice = self._choice(index)
        if choice.finish_reason in {"length", "context_length", "time_limit"}:
            raise LengthFinishError(f"the output ended early: finish_reason is {choice.finish_reason}", self)
        if choice.finish_reason == "invalid_tool_call":
            malformed = choice.proto.invalid_tool_call
            raise OutputValidationError(f"the output has a malformed tool call: {malformed}", self, malformed, None)
        return choice

    def _read(self, kind: Any, text: str) -> Any:  # noqa: ANN401 - any type or function
        read = json_reader(kind)
        try:
            return read(text)
        except ValueError as error:  # includes pydantic's ValidationError
            message = f"the output does not match {name_of(kind)}: {error}"
            raise OutputValidationError(message, self, text, error) from error


@dataclass(frozen=True, slots=True)
class ParsedCompletion(Completion, Generic[T]):
    """A completion whose first choice was parsed, unless it makes tool calls."""

    kind: TypeForm[T]
    """The type."""
    values: tuple[T, ...]
    """The value of the first choice; empty if the choice makes tool calls."""

    @property
    def parsed(self) -> T:
        """The value of the first choice; raises `OutputError` if the choice makes tool calls."""
        return self.values[0] if self.values else self.parse(self.kind)


def to_completion(reply: Reply[completion_pb2.CompleteResponse]) -> Completion:
    """Returns a reply as a completion."""
    return Completion(reply.proto, reply.request_id, reply.metadata)


def to_parsed(kind: TypeForm[T], completion: Completion) -> ParsedCompletion[T]:
    """Returns a completion with its first choice parsed; tool calls are left to `parse_tool_calls`.

    Raises:
        OutputError: As `Completion.parse` raises it.
    """
    values = () if completion.tool_calls else (completion.parse(kind),)
    return ParsedCompletion(completion.proto, completion.request_id, completion.metadata, kind, values)
