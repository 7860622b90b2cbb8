"""Finds, in what a caller wrote, text that a tokenizer would take for control tokens; it does not know messages.

A mark is one character that no text at hand holds. Put into a string before it is rendered, it travels with it; no
control token may be read across it in the rendering.
"""

import re
from collections.abc import Iterable, Sequence

from onward_server.model.tokenizer import RenderedPrompt

_FIRST_NONCHARACTER, _LAST_CHARACTER = 0xFDD0, 0x10FFFF


class ControlStrings:
    """A set of control strings, of two characters or more."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = sorted({string for string in strings if len(string) > 1})
        self._begins = re.compile(f"(?s)(?={_any_of(self._strings)}).") if self._strings else None
        self._all = "\0".join(self._strings)
        self._heads = {string[:end] for string in self._strings for end in range(1, len(string))}
        self._tails = {string[start:] for string in self._strings for start in range(1, len(string))}
        self._longest = max(map(len, self._strings), default=0)

    def are_in(self, text: str) -> bool:
        """Whether a control string stands in the text."""
        return self._begins is not None and self._begins.search(text) is not None

    def may_join(self, text: str) -> bool:
        """Whether what stands beside the text, white space aside, could make it a part of a control string."""
        return bool(self._strings) and (self._may_end_one(text.strip()) or self._may_begin_one(text.strip()))

    def mark(self, text: str, mark: str) -> str:
        """Puts the mark into every control string, behind its first character."""
        return text if self._begins is None else self._begins.sub(rf"\g<0>{mark}", text)

    def mark_ends(self, text: str, mark: str) -> str:
        """Puts the mark before or behind what could become a part of a control string."""
        bare = text.strip()
        start = text.find(bare)
        end = start + len(bare)
        before, behind = mark * self._may_end_one(bare), mark * self._may_begin_one(bare)
        return f"{text[:start]}{before}{bare}{behind}{text[end:]}"

    def _may_end_one(self, text: str) -> bool:
        """Whether the text begins with an end of a control string, or stands within one."""
        return bool(text) and (
            text in self._all or any(text[:length] in self._tails for length in range(1, self._longest))
        )

    def _may_begin_one(self, text: str) -> bool:
        return any(text[-length:] in self._heads for length in range(1, self._longest))


def unused_characters(count: int, texts: Sequence[str]) -> list[str]:
    """Characters that no text holds: Unicode's noncharacters, and others only where a text holds all of these."""
    found: list[str] = []
    for code_point in range(_FIRST_NONCHARACTER, _LAST_CHARACTER):
        if not any(chr(code_point) in text for text in texts):
            found.append(chr(code_point))
            if len(found) == count:
                return found
    raise AssertionError("a request is smaller than Unicode")


def unmark(text: str, mark: str) -> RenderedPrompt:
    """Takes the marks out of a rendering."""
    boundaries: list[int] = []
    position = 0
    for piece in text.split(mark)[:-1]:
        position += len(piece)
        boundaries.append(position)
    return RenderedPrompt(text=text.replace(mark, ""), boundaries=tuple(boundaries))


def _any_of(strings: Iterable[str]) -> str:
    """A pattern for the beginnings of strings, as a tree, so that a thousand cost no more than one."""
    tails: dict[str, list[str]] = {}
    for string in strings:
        if not string:
            return ""
        tails.setdefault(string[0], []).append(string[1:])
    branches = (re.escape(first) + _any_of(rest) for first, rest in tails.items())
    return f"(?:{'|'.join(branches)})"
