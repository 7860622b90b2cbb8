"""Takes a model's text apart into answer, reasoning and tool calls, as it comes; it knows no tokens.

A delta never has to be taken back, but for those of a call that turns out to be none: then `invalid_tool_call` is not
empty, and the deltas of the call with the highest index are void. Text is held back only while it may become a mark.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from onward_server.completion.answer.tool_formats.answer import (
    Answer,
    Calls,
    CallsComplete,
    Channel,
    ParsedDelta,
    random_call_id,
)
from onward_server.completion.answer.tool_formats.json_fence import JsonFence
from onward_server.completion.answer.tool_formats.marked_answer import MarkedAnswer
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Reading
from onward_server.completion.answer.tool_formats.tool_format import OutputFormat
from onward_server.domain import FunctionTool, JsonFormat, ResponseFormat

__all__ = ["AnswerContext", "Channel", "OutputParser", "ParsedDelta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """What is known of an answer before it comes; one serves all answers to a request."""

    tools: tuple[FunctionTool, ...] = ()
    """Those the model may call. With none, what looks like a call is text."""
    prompt: str = ""
    """The end of the prompt at least, as rendered: it may open the reasoning, or have it done."""
    continues: Channel | None = None
    """Which part of the prompt's last message the answer goes on with; None: it is a new message."""
    single_call: bool = False
    """Nothing is wanted after the first call."""
    response_format: ResponseFormat | None = None
    """Binds an answer that calls no tool: once such text has begun, no marks are looked for in it."""


class OutputParser:
    """Parses one answer; made anew for each."""

    def __init__(
        self, output_format: OutputFormat, context: AnswerContext, make_call_id: Callable[[], str] = random_call_id
    ) -> None:
        reasoning = output_format.reasoning
        is_opened = context.continues is None and reasoning is not None and reasoning.is_opened_by(context.prompt)
        self._answer = Answer(
            Calls(context.tools, make_call_id, is_single=context.single_call),
            continues=context.continues,
            is_thinking=is_opened or context.continues is Channel.REASONING,
            response_format=context.response_format,
        )
        self._fence = JsonFence() if isinstance(context.response_format, JsonFormat) else None
        self._reading = self._start(output_format, context.prompt)
        self.is_finished = False
        """No further text matters: the model may be stopped."""
        self.is_invalid = False
        """A call was begun that is none, or is cut short."""
        self._text_after_invalid: list[str] = []

    @property
    def is_thinking(self) -> bool:
        """Whether the text that comes next is reasoning, as far as is known."""
        return self._answer.is_thinking

    @property
    def num_calls(self) -> int:
        """Calls that are complete."""
        return self._answer.calls.num_complete

    @property
    def invalid_tool_call(self) -> str:
        """Raw text, to the end, of a call that was begun and is none, or is cut short; empty without such."""
        return self._answer.reader.recording + "".join(self._text_after_invalid) if self.is_invalid else ""

    def feed(self, text: str) -> ParsedDelta:
        """Takes more of the model's text."""
        if self._reading is None:
            return ParsedDelta(text=text)
        if self.is_invalid:
            self._text_after_invalid.append(text)
        if self.is_finished:
            return ParsedDelta()
        self._answer.reader.feed(text)
        return self._advance(self._reading)

    def finish(self) -> ParsedDelta:
        """Takes notice that no more text comes, whatever the reason."""
        if self._reading is None:
            return ParsedDelta()
        self._answer.reader.end()
        delta = ParsedDelta() if self.is_finished else self._advance(self._reading)
        return replace(delta, text=delta.text + self._fence.finish()) if self._fence else delta

    def _start(self, output_format: OutputFormat, prompt: str) -> Reading[None] | None:
        """None where text passes through as it is."""
        tools = output_format.tools
        if tools and tools.frames_answer:
            return tools.read(self._answer, "")
        if self._fence or output_format.reasoning or (tools and self._answer.calls.tools):
            return MarkedAnswer(self._answer, output_format, prompt).read()
        return None

    def _advance(self, reading: Reading[None]) -> ParsedDelta:
        try:
            next(reading)
        except (StopIteration, CallsComplete):
            self.is_finished = True
        except CallUnparseable:
            self.is_finished = self.is_invalid = True
            self._answer.reader.take_rest()
            self._answer.calls.void()
        delta = self._answer.take_delta()
        return replace(delta, text=self._fence.feed(delta.text)) if self._fence else delta
