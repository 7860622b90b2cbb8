"""Splits model output into text, reasoning and tool calls as it arrives.

Deltas are final, except those of a tool call that turns out to be malformed: then `invalid_tool_call` holds its raw
text, and the deltas of the call with the highest index are void. Text is held back only while it may become a marker.
"""

from collections.abc import Callable
from dataclasses import replace

from onward_server.completion.answer.json_fence import JsonFence
from onward_server.completion.answer.marker_parser import MarkerParser
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, SingleToolCallComplete
from onward_server.completion.answer.parsing.parser_state import MessagePart, ParsedDelta, ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.parsing.tool_call_builder import ToolCallBuilder, random_call_id
from onward_server.domain import JsonFormat


class OutputParser:
    """The parser of one choice."""

    def __init__(
        self, output_format: OutputFormat, context: OutputContext, make_call_id: Callable[[], str] = random_call_id
    ) -> None:
        reasoning = output_format.reasoning
        is_opened = context.continues is None and reasoning is not None and reasoning.is_opened_by(context.prompt)
        self._state = ParserState(
            ToolCallBuilder(context.tools, make_call_id, is_single=context.single_call),
            continues=context.continues,
            is_reasoning=is_opened or context.continues is MessagePart.REASONING,
            response_format=context.response_format,
        )
        # The rest of a constrained text has no markers, and a fence may be a part of a string.
        is_rest = context.continues is MessagePart.CONTENT and context.response_format is not None
        self._fence = JsonFence() if isinstance(context.response_format, JsonFormat) and not is_rest else None
        self._parsing = self._start(output_format, context.prompt, is_rest=is_rest)
        self.is_finished = False
        """Whether further output is ignored, so that the model may be stopped."""
        self.is_invalid = False
        """Whether a tool call was started but is malformed or truncated."""
        self._text_after_invalid: list[str] = []

    @property
    def is_reasoning(self) -> bool:
        """Whether the next output is reasoning, judging by the output so far."""
        return self._state.is_reasoning

    @property
    def num_calls(self) -> int:
        """The number of complete tool calls."""
        return self._state.tool_calls.num_complete

    @property
    def invalid_tool_call(self) -> str:
        """The raw text from the start of a malformed tool call to the end of the output; empty if there is none."""
        return self._state.stream.recording + "".join(self._text_after_invalid) if self.is_invalid else ""

    def feed(self, text: str) -> ParsedDelta:
        """Takes the next piece of output, and returns what it adds to the choice."""
        if self._parsing is None:
            return ParsedDelta(text=text)
        if self.is_invalid:
            self._text_after_invalid.append(text)
        if self.is_finished:
            return ParsedDelta()
        self._state.stream.feed(text)
        return self._advance(self._parsing)

    def finish(self, *, is_truncated: bool = False) -> ParsedDelta:
        """Ends the output and returns what was held back.

        Args:
            is_truncated: Whether something other than the model ended the output, such as a limit.
        """
        if self._parsing is None:
            return ParsedDelta()
        self._state.stream.end(is_truncated=is_truncated)
        delta = ParsedDelta() if self.is_finished else self._advance(self._parsing)
        return replace(delta, text=delta.text + self._fence.finish()) if self._fence else delta

    def _start(self, output_format: OutputFormat, prompt: str, *, is_rest: bool) -> Parsing[None] | None:
        """Returns the parser of the output; None if all of it is text."""
        tools = output_format.tools
        if tools and tools.frames_output:
            return tools.parse(self._state, "")
        if is_rest:
            return None
        if self._fence or output_format.reasoning or (tools and self._state.tool_calls.tools):
            return MarkerParser(self._state, output_format, prompt).parse()
        return None

    def _advance(self, parsing: Parsing[None]) -> ParsedDelta:
        try:
            next(parsing)
        except (StopIteration, SingleToolCallComplete):
            self.is_finished = True
        except MalformedToolCall:
            self.is_finished = self.is_invalid = True
            self._state.stream.take_rest()
            self._state.tool_calls.fail()
        delta = self._state.take_delta()
        return replace(delta, text=self._fence.feed(delta.text)) if self._fence else delta
