"""Parses output in which markers separate reasoning and tool calls from text; the formats supply the markers."""

from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import MessagePart, ParserState
from onward_server.completion.answer.parsing.text_stream import NEWLINES, Parsing


class MarkerParser:
    """The parser of one choice.

    White space is dropped before a marker if it is at the start of the output, or directly after reasoning or a tool
    call. Newlines around reasoning are dropped. All other text is passed on as written. Output with a response
    format is either all text or all tool calls.
    """

    def __init__(self, state: ParserState, output_format: OutputFormat, prompt: str) -> None:
        self._state = state
        self._reasoning = output_format.reasoning
        self._tools = output_format.tools if state.tool_calls.tools else None
        self._triggers = self._tools.triggers_of(state.tool_calls.tools) if self._tools else ()
        self._has_reasoned = bool(self._reasoning and self._reasoning.is_closed_by(prompt))
        self._num_held_newlines = 0

    def parse(self) -> Parsing[None]:
        """Parses the output to its end."""
        state, stream = self._state, self._state.stream
        last_marker: str | None = None
        if state.is_reasoning and self._reasoning:
            last_marker = yield from self._parse_open_reasoning(self._reasoning)
        while True:
            space = yield from stream.take_space()
            marker = yield from stream.accept(*self._markers(at_start=not state.has_text))
            if marker is None:
                if stream.is_at_end and last_marker and state.strips_newlines:
                    return
                is_stripped = state.strips_newlines and self._ends_reasoning(last_marker)
                state.add_text(space.lstrip("\n") if is_stripped else space)
                markers = () if state.is_constrained else self._markers(at_start=False)
                marker = yield from stream.stream_until(Markers.of(*markers), state.add_text)
                space = ""
            if marker is None:
                return
            last_marker = yield from self._parse_marked(marker, space)

    def _markers(self, *, at_start: bool) -> tuple[str, ...]:
        """The markers that may come next; `at_start`: no text has come yet."""
        markers = self._triggers
        if at_start and self._tools:
            markers += self._tools.start_triggers
        if self._state.is_constrained and self._has_reasoned:
            return markers
        if self._reasoning and (at_start or self._reasoning.anywhere):
            markers += (self._reasoning.begin,)
        if self._reasoning and (self._has_reasoned or self._reasoning.frames_text):
            markers += self._reasoning.dropped
        if self._reasoning and self._has_reasoned and self._reasoning.text_frame:
            markers += self._reasoning.text_frame if at_start else self._reasoning.text_frame[1:]
        return markers

    def _ends_reasoning(self, marker: str | None) -> bool:
        reasoning = self._reasoning
        return reasoning is not None and marker in (reasoning.end, *(reasoning.text_frame or ()))

    def _parse_marked(self, marker: str, space: str) -> Parsing[str | None]:
        """Parses what a marker starts and returns the marker that ended it; None if the marker was text.

        `space` is the white space before the marker, which is dropped unless the marker was text.
        """
        if self._reasoning and marker == self._reasoning.begin:
            return (yield from self._parse_reasoning(self._reasoning))
        if self._reasoning and marker in self._reasoning.dropped:
            return self._reasoning.end
        if self._reasoning and self._reasoning.text_frame and marker in self._reasoning.text_frame:
            return (yield from self._parse_text_frame(self._reasoning.text_frame, marker, space))
        if (yield from self._parse_tool_calls(marker)):
            return marker
        self._state.add_text(space + marker)
        return None

    def _parse_text_frame(self, frame: tuple[str, str], marker: str, space: str) -> Parsing[str | None]:
        """Drops a marker around the text. The one at the end belongs to the text if more text follows."""
        begin, end = frame
        stream = self._state.stream
        if marker == begin:
            return begin
        space_after = yield from stream.take_space()
        if stream.is_at_end or (yield from stream.peek(*self._triggers)):
            return end
        self._state.add_text(f"{space}{marker}{space_after}")
        return None

    def _parse_tool_calls(self, trigger: str, *, must_open: bool = False) -> Parsing[bool]:
        """Returns whether the trigger started a tool call; if not, moves the stream back to the trigger's end.

        `must_open`: text that does not begin with the name of an offered tool is not a tool call, malformed or not.
        """
        assert self._tools, "without tools there are no triggers"
        stream = self._state.stream
        stream.start_recording(trigger)
        try:
            yield from self._tools.parse(self._state, trigger)
        except NotAToolCall:
            stream.rewind()
            return False
        except MalformedToolCall:
            if not must_open or self._state.tool_calls.is_open or self._state.tool_calls.num_complete:
                raise
            stream.rewind()
            return False
        stream.stop_recording()
        return True

    def _parse_open_reasoning(self, reasoning: ReasoningFormat) -> Parsing[str | None]:
        """Parses the rest of reasoning that the prompt has begun, and returns the marker that ended it."""
        state, stream = self._state, self._state.stream
        if state.continues is MessagePart.REASONING:
            return (yield from self._stream_reasoning(reasoning))
        yield from stream.take_while(NEWLINES)
        marker = yield from stream.accept(reasoning.begin, *self._triggers)
        if marker == reasoning.begin:
            # The model repeats the marker that the prompt ends with: it is part of the reasoning, as written.
            state.add_reasoning(reasoning.begin + (yield from stream.take_while(NEWLINES)))
        elif marker is not None and (yield from self._parse_calls_in_reasoning(marker, must_open=False)):
            return marker
        return (yield from self._stream_reasoning(reasoning))

    def _parse_calls_in_reasoning(self, trigger: str, *, must_open: bool = True) -> Parsing[bool]:
        """Returns whether a tool call ends the reasoning here; if not, adds the trigger to the reasoning."""
        self._state.is_reasoning = False
        if (yield from self._parse_tool_calls(trigger, must_open=must_open)):
            return True
        self._state.is_reasoning = True
        self._add_reasoning(trigger)
        return False

    def _parse_reasoning(self, reasoning: ReasoningFormat) -> Parsing[str | None]:
        self._state.is_reasoning = True
        yield from self._state.stream.take_while(NEWLINES)
        return (yield from self._stream_reasoning(reasoning))

    def _stream_reasoning(self, reasoning: ReasoningFormat) -> Parsing[str | None]:
        """Emits reasoning as it arrives, and returns the marker that ended it; None at the end of the output."""
        triggers = self._triggers if self._tools and self._tools.ends_reasoning else ()
        markers = Markers.of(reasoning.end, *triggers)
        while True:
            marker = yield from self._state.stream.stream_until(markers, self._add_reasoning)
            if marker is None or marker not in triggers or (yield from self._parse_calls_in_reasoning(marker)):
                break
        if marker is None:
            self._state.add_reasoning("\n" * self._num_held_newlines)
        self._num_held_newlines = 0
        self._has_reasoned = True
        self._state.is_reasoning = marker is None
        return marker

    def _add_reasoning(self, text: str) -> None:
        """Emits reasoning, but holds back the newlines at its end; the end marker drops them."""
        kept = text.rstrip("\n")
        if kept:
            self._state.add_reasoning("\n" * self._num_held_newlines + kept)
            self._num_held_newlines = 0
        self._num_held_newlines += len(text) - len(kept)
