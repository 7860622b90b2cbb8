"""The state of parsing one choice: the stream to read from, and the text, reasoning and tool calls found so far."""

from dataclasses import dataclass
from enum import Enum

from onward_server.completion.answer.parsing.text_stream import TextStream
from onward_server.completion.answer.parsing.tool_call_builder import ToolCallBuilder
from onward_server.domain import JsonFormat, ResponseFormat, ToolCallDelta


class MessagePart(Enum):
    """The part of an assistant message that the prompt leaves open for the model to continue."""

    CONTENT = "content"
    REASONING = "reasoning"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDelta:
    """What the next piece of model output adds to a choice."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


class ParserState:
    """What a tool format's parser reads from and writes to."""

    def __init__(
        self,
        tool_calls: ToolCallBuilder,
        *,
        continues: MessagePart | None,
        is_reasoning: bool,
        response_format: ResponseFormat | None = None,
    ) -> None:
        self.stream = TextStream()
        self.tool_calls = tool_calls
        self.continues = continues
        self.is_reasoning = is_reasoning
        """Whether the next output is reasoning."""
        self.has_text = continues is MessagePart.CONTENT
        """Whether the text of the message has begun, in the prompt or in the output."""
        self.is_constrained = response_format is not None
        """Whether a response format constrains the text. If so, markers after its start are ordinary text."""
        self.strips_newlines = response_format is None or isinstance(response_format, JsonFormat)
        """Whether newlines between reasoning and text are dropped. A regex, grammar or choice may require them."""
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def add_text(self, text: str) -> None:
        """Appends to the text of the message."""
        if text:
            self.has_text = True
            self._text.append(text)

    def add_reasoning(self, text: str) -> None:
        """Appends to the reasoning of the message."""
        self._reasoning.append(text)

    def close_tool_call(self, next_marker: str = "") -> None:
        """Closes the open tool call, and restarts the recording of raw text after it.

        Args:
            next_marker: The marker of the next call, if it has been taken; the recording begins with it.

        Raises:
            MalformedToolCall: No tool call is open, or its arguments are not a JSON object.
            SingleToolCallComplete: The request allows one tool call only.
        """
        self.tool_calls.close()
        self.stream.start_recording(next_marker)

    def take_delta(self) -> ParsedDelta:
        """Returns what is new since the last call of this method."""
        delta = ParsedDelta(
            text="".join(self._text), reasoning="".join(self._reasoning), tool_calls=self.tool_calls.take_deltas()
        )
        self._text, self._reasoning = [], []
        return delta
