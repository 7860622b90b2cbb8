"""Markers: the literals, such as `<tool_call>`, that a parser looks for in model output."""

import re
from functools import lru_cache


class Markers:
    """A set of literals to search for in text that arrives in pieces.

    No literal may be a prefix of another one, or contain another one anywhere but at its end.
    """

    def __init__(self, literals: tuple[str, ...]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, literals)) or r"(?!)")
        self._prefixes = {literal[:length] for literal in literals for length in range(1, len(literal))}
        self._longest_prefix = max(map(len, self._prefixes), default=0)

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, *literals: str) -> "Markers":
        """Returns the markers with these literals; cached, because parsers use the same sets repeatedly."""
        return cls(literals)

    def search(self, text: str, start: int) -> re.Match[str] | None:
        """Finds the first marker at or after `start`."""
        return self._pattern.search(text, start)

    def num_held(self, text: str, start: int) -> int:
        """Returns how many characters at the end of `text[start:]` may be the beginning of a marker."""
        for count in range(min(len(text) - start, self._longest_prefix), 0, -1):
            if text[-count:] in self._prefixes:
                return count
        return 0
