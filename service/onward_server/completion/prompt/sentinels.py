"""Keeps text that callers wrote from being read as control tokens.

A sentinel is a character that occurs in none of the inputs. It is inserted into strings before the chat template
renders them. In the rendered text, where the template may have escaped it, it shows where text must not be read as a
control token, and is then removed.
"""

import json
import re
from collections.abc import Iterable, Sequence

from onward_server.model.tokenizer import RenderedPrompt

_FIRST_NONCHARACTER, _LAST_CHARACTER = 0xFDD0, 0x10FFFF


class ControlStrings:
    """The texts of a set of control tokens. Those of one character are ignored, as they cannot be split."""

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = sorted({string for string in strings if len(string) > 1})
        self._begins = re.compile(f"(?s)(?={_any_of(self._strings)}).") if self._strings else None
        self._all = "\0".join(self._strings)
        self._prefixes = {string[:end] for string in self._strings for end in range(1, len(string))}
        self._suffixes = {string[start:] for string in self._strings for start in range(1, len(string))}
        self._longest = max(map(len, self._strings), default=0)

    def occur_in(self, text: str) -> bool:
        """Whether the text contains a control string."""
        return self._begins is not None and self._begins.search(text) is not None

    def may_join(self, text: str) -> bool:
        """Whether the text, without white space around it, could form a control string with its surroundings."""
        return bool(self._strings) and (self._may_end_one(text.strip()) or self._may_begin_one(text.strip()))

    def split(self, text: str, sentinel: str) -> str:
        """Inserts the sentinel after the first character of every control string."""
        return text if self._begins is None else self._begins.sub(rf"\g<0>{sentinel}", text)

    def guard_ends(self, text: str, sentinel: str) -> str:
        """Inserts the sentinel before or after the text, where it could form a control string with its surroundings."""
        bare = text.strip()
        start = text.find(bare)
        end = start + len(bare)
        before, after = sentinel * self._may_end_one(bare), sentinel * self._may_begin_one(bare)
        return f"{text[:start]}{before}{bare}{after}{text[end:]}"

    def _may_end_one(self, text: str) -> bool:
        """Whether the text begins with a suffix of a control string, or occurs inside one."""
        return bool(text) and (
            text in self._all or any(text[:length] in self._suffixes for length in range(1, self._longest))
        )

    def _may_begin_one(self, text: str) -> bool:
        """Whether the text ends with a prefix of a control string."""
        return any(text[-length:] in self._prefixes for length in range(1, self._longest))


def unused_characters(count: int, texts: Sequence[str]) -> list[str]:
    """Returns characters that occur in none of the texts, not even escaped.

    They are Unicode noncharacters, unless the texts contain them all.
    """
    found: list[str] = []
    for character in map(chr, range(_FIRST_NONCHARACTER, _LAST_CHARACTER)):
        if not any(form in text for text in texts for form in (character, *_escapes(character))):
            found.append(character)
            if len(found) == count:
                return found
    raise AssertionError("no request can contain every Unicode character")


def remove_sentinels(text: str, sentinel: str) -> RenderedPrompt:
    """Removes the sentinels from a rendering and returns it with their positions as boundaries."""
    for escape in _escapes(sentinel):
        text = text.replace(escape, sentinel)
    boundaries: list[int] = []
    position = 0
    for piece in text.split(sentinel)[:-1]:
        position += len(piece)
        boundaries.append(position)
    return RenderedPrompt(text=text.replace(sentinel, ""), boundaries=tuple(boundaries))


def _escapes(character: str) -> set[str]:
    """How templates write a character with `tojson(ensure_ascii=true)`, and when they print a list or an object."""
    return {json.dumps(character)[1:-1], repr(character)[1:-1]} - {character}


def _any_of(strings: Iterable[str]) -> str:
    """Returns a regex that matches any of the strings, as a trie, so that a thousand cost no more than one."""
    tails: dict[str, list[str]] = {}
    for string in strings:
        if not string:
            return ""
        tails.setdefault(string[0], []).append(string[1:])
    branches = (re.escape(first) + _any_of(rest) for first, rest in tails.items())
    return f"(?:{'|'.join(branches)})"
