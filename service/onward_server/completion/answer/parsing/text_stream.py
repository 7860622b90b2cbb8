"""Model output as a stream: parsers are generators that yield whenever they need more text.

A parser can thus be written as if the whole output were there. The stream keeps no more unread text than the longest
literal that a parser looks for; everything else is emitted or collected as it arrives.
"""

import re
from collections.abc import Callable, Generator
from typing import TypeVar

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.markers import Markers

Result = TypeVar("Result")
Parsing = Generator[None, None, Result]
"""A parser in progress: yields when it needs more text, and returns its result."""

NEWLINES = re.compile(r"\n*")
_SPACE = re.compile(r"[ \t\r\n]*")


class TextStream:
    """The output of one choice so far, and a position in it. More output may arrive.

    The methods that take text move the position forward; those that may have to wait for more text are generators.
    """

    def __init__(self) -> None:
        self._text = ""
        self._position = 0
        self._is_ended = False
        self.is_truncated = False
        """Whether the output has ended before the model ended it."""
        self._recording: list[str] | None = None

    def feed(self, text: str) -> None:
        """Appends text that has arrived."""
        self._text = self._text[self._position :] + text
        self._position = 0

    def end(self, *, is_truncated: bool = False) -> None:
        """Marks the end of the output: no more text will arrive."""
        self._is_ended = True
        self.is_truncated = is_truncated

    @property
    def is_at_end(self) -> bool:
        """Whether all text has been taken and no more will arrive."""
        return self._is_ended and self._position == len(self._text)

    @property
    def is_ended_by_model(self) -> bool:
        """Whether all text has been taken, and the model itself ended the output."""
        return self.is_at_end and not self.is_truncated

    @property
    def next_character(self) -> str:
        """The character after a run taken with `take_while`; empty at the end of the output."""
        return self._text[self._position : self._position + 1]

    def start_recording(self, marker: str) -> None:
        """Starts to record the text that is taken, beginning with a marker that was taken just before."""
        self._recording = [marker]

    def stop_recording(self) -> None:
        """Drops the recording."""
        self._recording = None

    @property
    def recording(self) -> str:
        """The marker given to `start_recording` and the text taken since."""
        return "".join(self._recording or ())

    def rewind(self) -> None:
        """Moves back to the position after the marker given to `start_recording`, and stops recording."""
        assert self._recording, "recording was started"
        rewound = "".join(self._recording[1:])
        self._recording = None
        if len(rewound) <= self._position:
            self._position -= len(rewound)
        else:
            self._text = rewound + self._text[self._position :]
            self._position = 0

    def take_rest(self) -> None:
        """Takes all text that has arrived."""
        self._take_to(len(self._text))

    def take_truncated(self, *literals: str) -> None:
        """Takes the beginning of one of the literals if the output ends partway through it."""
        rest = self._text[self._position :]
        if self._is_ended and any(literal.startswith(rest) for literal in literals):
            self.take_rest()

    def peek(self, *literals: str) -> Parsing[str | None]:
        """Returns the literal that comes next, without taking it; returns None if other text comes."""
        while True:
            for literal in literals:
                if self._text.startswith(literal, self._position):
                    return literal
            rest = self._text[self._position : self._position + max(map(len, literals), default=0)]
            if self._is_ended or not any(literal.startswith(rest) for literal in literals):
                return None
            yield

    def accept(self, *literals: str) -> Parsing[str | None]:
        """Takes the literal that comes next and returns it; returns None if other text comes."""
        literal = yield from self.peek(*literals)
        return None if literal is None else self._take_to(self._position + len(literal))

    def accept_after_space(self, *literals: str) -> Parsing[str | None]:
        """Takes white space and the literal after it, and returns the literal; takes nothing if other text comes."""
        while True:
            space = _SPACE.match(self._text, self._position)
            assert space, "a starred class matches everywhere"
            start = space.end()
            for literal in literals:
                if self._text.startswith(literal, start):
                    self._take_to(start + len(literal))
                    return literal
            rest = self._text[start : start + max(map(len, literals), default=0)]
            if self._is_ended or not any(literal.startswith(rest) for literal in literals):
                return None
            yield

    def expect(self, *literals: str) -> Parsing[str]:
        """Takes the literal that must come next and returns it.

        Raises:
            MalformedToolCall: Other text follows.
        """
        literal = yield from self.accept(*literals)
        if literal is None:
            raise MalformedToolCall
        return literal

    def take_while(self, characters: re.Pattern[str]) -> Parsing[str]:
        """Takes the longest run of characters that a starred character class, such as `[a-z]*`, matches."""
        parts: list[str] = []
        while True:
            match = characters.match(self._text, self._position)
            assert match, "a starred class matches everywhere"
            parts.append(self._take_to(match.end()))
            if self._position < len(self._text) or self._is_ended:
                return "".join(parts)
            yield

    def take_space(self) -> Parsing[str]:
        """Takes white space, as JSON defines it."""
        return self.take_while(_SPACE)

    def stream_until(self, markers: Markers, emit: Callable[[str], None]) -> Parsing[str | None]:
        """Emits text as it arrives, up to the first marker, which it takes and returns; returns None at the end."""
        while True:
            if match := markers.search(self._text, self._position):
                emit(self._take_to(match.start()))
                return self._take_to(match.end())
            num_held = 0 if self._is_ended else markers.num_held(self._text, self._position)
            emit(self._take_to(len(self._text) - num_held))
            if self._is_ended:
                return None
            yield

    def stream_to(self, end_of: Callable[[str, int], int | None], emit: Callable[[str], None]) -> Parsing[None]:
        """Emits text as it arrives, up to an end that `end_of` finds.

        Args:
            end_of: Given a text and a start, returns where the value ends, or None if it needs more text. Each piece
                of text is passed once.
            emit: Takes the text.

        Raises:
            MalformedToolCall: The output ends first.
        """
        while True:
            end = end_of(self._text, self._position)
            emit(self._take_to(len(self._text) if end is None else end))
            if end is not None:
                return
            if self._is_ended:
                raise MalformedToolCall
            yield

    def _take_to(self, end: int) -> str:
        taken = self._text[self._position : end]
        self._position = end
        if self._recording is not None:
            self._recording.append(taken)
        return taken
