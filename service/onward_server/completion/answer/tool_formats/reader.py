"""Text that arrives in pieces, read in straight lines by generators; it does not know what the text means.

A reading is a generator that yields when it needs more text, so a format is written as if all of its text were there.
What is unread is never longer than the longest literal looked for: all else is passed on or collected as it comes.
"""

import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TypeVar

Result = TypeVar("Result")
Reading = Generator[None, None, Result]

SPACE = re.compile(r"[ \t\r\n]*")
NEWLINES = re.compile(r"\n*")


class CallUnparseable(Exception):
    """A tool call was begun, and what follows is none, or is cut short."""


class Marks:
    """Literals looked for in a stream; none begins with another, or holds one other than at its end."""

    def __init__(self, literals: tuple[str, ...]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, literals)) or r"(?!)")
        self._beginnings = {literal[:length] for literal in literals for length in range(1, len(literal))}
        self._longest = max(map(len, self._beginnings), default=0)

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, *literals: str) -> "Marks":
        return cls(literals)

    def search(self, text: str, start: int) -> re.Match[str] | None:
        return self._pattern.search(text, start)

    def num_held(self, text: str, start: int) -> int:
        """How many characters at the end of the text may still become a mark."""
        for count in range(min(len(text) - start, self._longest), 0, -1):
            if text[-count:] in self._beginnings:
                return count
        return 0


class Reader:
    """The text of one answer, of which some is still to come."""

    def __init__(self) -> None:
        self._text = ""
        self._position = 0
        self._is_ended = False
        self._recording: list[str] | None = None

    def feed(self, text: str) -> None:
        self._text = self._text[self._position :] + text
        self._position = 0

    def end(self) -> None:
        self._is_ended = True

    @property
    def is_at_end(self) -> bool:
        return self._is_ended and self._position == len(self._text)

    @property
    def next_character(self) -> str:
        """What ended the run just taken; empty at the end of the text."""
        return self._text[self._position : self._position + 1]

    def record(self, mark: str) -> None:
        """Starts to keep what is taken, after a mark that has been."""
        self._recording = [mark]

    @property
    def recording(self) -> str:
        """What was taken since `record`, with the mark."""
        return "".join(self._recording or ())

    def rewind(self) -> None:
        """Makes what was taken since `record` unread again, all but the mark, and stops to keep it."""
        assert self._recording, "there is a mark"
        rewound = "".join(self._recording[1:])
        self._recording = None
        if len(rewound) <= self._position:
            self._position -= len(rewound)
        else:
            self._text = rewound + self._text[self._position :]
            self._position = 0

    def forget(self) -> None:
        """Stops keeping what is taken."""
        self._recording = None

    def take_rest(self) -> None:
        self._take_to(len(self._text))

    def take_cut(self, literal: str) -> None:
        """Takes the beginning of a literal, where the text ends in it."""
        if self._is_ended and literal.startswith(self._text[self._position :]):
            self.take_rest()

    def accept(self, *literals: str) -> Reading[str | None]:
        """Takes the literal that comes next, if one does."""
        while True:
            for literal in literals:
                if self._text.startswith(literal, self._position):
                    return self._take_to(self._position + len(literal))
            rest = self._text[self._position : self._position + max(map(len, literals), default=0)]
            if self._is_ended or not any(literal.startswith(rest) for literal in literals):
                return None
            yield

    def need(self, *literals: str) -> Reading[str]:
        """Takes the literal that must come next.

        Raises:
            CallUnparseable: Something else comes.
        """
        literal = yield from self.accept(*literals)
        if literal is None:
            raise CallUnparseable
        return literal

    def run(self, characters: re.Pattern[str]) -> Reading[str]:
        """Takes the longest run that a starred character class matches."""
        parts: list[str] = []
        while True:
            match = characters.match(self._text, self._position)
            assert match, "a starred class matches everywhere"
            parts.append(self._take_to(match.end()))
            if self._position < len(self._text) or self._is_ended:
                return "".join(parts)
            yield

    def space(self) -> Reading[str]:
        return self.run(SPACE)

    def stream_until(self, marks: Marks, emit: Callable[[str], None]) -> Reading[str | None]:
        """Passes text on as it comes; takes the first mark, or gives None at the end."""
        while True:
            if match := marks.search(self._text, self._position):
                emit(self._take_to(match.start()))
                return self._take_to(match.end())
            num_held = 0 if self._is_ended else marks.num_held(self._text, self._position)
            emit(self._take_to(len(self._text) - num_held))
            if self._is_ended:
                return None
            yield

    def stream(self, end_of: Callable[[str, int], int | None], emit: Callable[[str], None]) -> Reading[None]:
        """Passes text on as it comes, to where `end_of(text, start)` says, which gives None to have more.

        Raises:
            CallUnparseable: The text ends before that.
        """
        while True:
            end = end_of(self._text, self._position)
            emit(self._take_to(len(self._text) if end is None else end))
            if end is not None:
                return
            if self._is_ended:
                raise CallUnparseable
            yield

    def _take_to(self, end: int) -> str:
        taken = self._text[self._position : end]
        self._position = end
        if self._recording is not None:
            self._recording.append(taken)
        return taken
