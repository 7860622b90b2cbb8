"""Takes apart answers in which marks set reasoning and calls off from the text; it knows no format's marks."""

from onward_server.completion.answer.tool_formats.answer import Answer, Channel
from onward_server.completion.answer.tool_formats.reader import NEWLINES, Marks, Reading
from onward_server.completion.answer.tool_formats.tool_format import NotACall, OutputFormat, ReasoningFormat


class MarkedAnswer:
    """One answer and the marks that matter in it.

    White space before a mark at a boundary, which is the start, the end of the reasoning or of a call, belongs to the
    frame, as do newlines around reasoning: both are dropped. All other text is passed on as written. What is bound by a
    format is either text to its end, or calls.
    """

    def __init__(self, answer: Answer, output_format: OutputFormat, prompt: str) -> None:
        self._answer = answer
        self._reasoning = output_format.reasoning
        self._tools = output_format.tools if answer.calls.tools else None
        self._triggers = self._tools.triggers if self._tools else ()
        self._has_thought = bool(self._reasoning and self._reasoning.is_closed_by(prompt))
        self._num_held_newlines = 0

    def read(self) -> Reading[None]:
        answer, reader = self._answer, self._answer.reader
        last_mark: str | None = None
        if answer.is_thinking and self._reasoning:
            last_mark = yield from self._read_open_reasoning(self._reasoning)
        while True:
            space = yield from reader.space()
            mark = yield from reader.accept(*self._marks(at_start=not answer.has_text))
            if mark is None:
                if reader.is_at_end and last_mark and answer.is_stripped:
                    return
                answer.say(space.lstrip("\n") if answer.is_stripped and self._ends_reasoning(last_mark) else space)
                marks = () if answer.is_bound else self._marks(at_start=False)
                mark = yield from reader.stream_until(Marks.of(*marks), answer.say)
                space = ""
            if mark is None:
                return
            last_mark = yield from self._read_marked(mark, space)

    def _marks(self, *, at_start: bool) -> tuple[str, ...]:
        marks = self._triggers
        if at_start and self._tools and not self._answer.calls.num_complete:
            marks += self._tools.start_triggers
        if self._answer.is_bound and self._has_thought:
            return marks
        if self._reasoning and (at_start or self._reasoning.anywhere):
            marks += (self._reasoning.begin,)
        if self._reasoning and self._has_thought:
            marks += self._reasoning.dropped
        return marks

    def _ends_reasoning(self, mark: str | None) -> bool:
        return self._reasoning is not None and mark == self._reasoning.end

    def _read_marked(self, mark: str, space: str) -> Reading[str | None]:
        """Reads what a mark begins, and gives the mark that ends it; None where the mark was text."""
        if self._reasoning and mark == self._reasoning.begin:
            return (yield from self._read_reasoning(self._reasoning))
        if self._reasoning and mark in self._reasoning.dropped:
            return self._reasoning.end
        if (yield from self._read_calls(mark)):
            return mark
        self._answer.say(space + mark)
        return None

    def _read_calls(self, trigger: str) -> Reading[bool]:
        """Whether it was a call: if not, what follows the trigger is unread again."""
        assert self._tools, "without tools there are no triggers"
        reader = self._answer.reader
        reader.record(trigger)
        try:
            yield from self._tools.read(self._answer, trigger)
        except NotACall:
            reader.rewind()
            return False
        reader.forget()
        return True

    def _read_open_reasoning(self, reasoning: ReasoningFormat) -> Reading[str | None]:
        """Reads on where the prompt has begun the reasoning."""
        answer, reader = self._answer, self._answer.reader
        if answer.continues is Channel.REASONING:
            return (yield from self._stream_reasoning(reasoning))
        yield from reader.run(NEWLINES)
        mark = yield from reader.accept(reasoning.begin, *self._triggers)
        if mark == reasoning.begin:
            # The model opens again what is open: that, with its newlines, is thinking as written.
            answer.think(reasoning.begin + (yield from reader.run(NEWLINES)))
        elif mark is not None:
            # The model does not think, and calls at once. Later on, a trigger is only talked about.
            answer.is_thinking = False
            if (yield from self._read_calls(mark)):
                return mark
            answer.is_thinking = True
            answer.think(mark)
        return (yield from self._stream_reasoning(reasoning))

    def _read_reasoning(self, reasoning: ReasoningFormat) -> Reading[str | None]:
        self._answer.is_thinking = True
        yield from self._answer.reader.run(NEWLINES)
        return (yield from self._stream_reasoning(reasoning))

    def _stream_reasoning(self, reasoning: ReasoningFormat) -> Reading[str | None]:
        mark = yield from self._answer.reader.stream_until(Marks.of(reasoning.end), self._think)
        if mark is None:
            self._answer.think("\n" * self._num_held_newlines)
        self._num_held_newlines = 0
        self._has_thought = True
        self._answer.is_thinking = mark is None
        return mark

    def _think(self, text: str) -> None:
        """Passes reasoning on, but for the newlines at its end, which may be its last."""
        kept = text.rstrip("\n")
        if kept:
            self._answer.think("\n" * self._num_held_newlines + kept)
            self._num_held_newlines = 0
        self._num_held_newlines += len(text) - len(kept)
