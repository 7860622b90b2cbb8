"""Writes pieces of grammars in Lark notation; it knows no formats.

A set of grammars is a JSON text: the first is where a match starts, and refers to the others by their names.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Grammar = dict[str, object]
"""One grammar of a set: an optional `name`, and a `lark_grammar` or a `json_schema`."""

ANY_TEXT = "/(?s:.*)/"
JSON_OPTIONS: Mapping[str, str] = {
    # One blank, or a line break and what indents the next line: what models write, but no endless run of it.
    "whitespace_pattern": r" |\n[ \t]{0,40}",
    # No \u: a name could be written in two ways, and so evade what is said of it.
    "json_allowed_escapes": 'nrbtf\\"',
}


def grammar_set(*grammars: Grammar) -> str:
    """The text of a set of grammars."""
    return json.dumps({"grammars": grammars})


def quoted(text: str) -> str:
    """A string literal."""
    return json.dumps(text)


def regex_literal(text: str) -> str:
    """A regular expression, to stand inside of another, that matches one text."""
    return "".join(_escaped(character) for character in text)


def text_without(*parts: str, prefixes: Iterable[str] = ()) -> str:
    """A terminal for any text that contains none of `parts`, nor starts with one of `prefixes`, white space aside."""
    excluded = [f"(?s:.*){regex_literal(part)}(?s:.*)" for part in parts]
    excluded += [rf"\s*{regex_literal(prefix)}(?s:.*)" for prefix in prefixes]
    return " & ".join([ANY_TEXT, *(f"~/{regex}/" for regex in excluded)])


def _escaped(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}"


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """Writes literals in which control tokens stand for themselves."""

    ids: Mapping[str, int]

    def literal(self, text: str) -> str:
        """A sequence of string literals and control tokens; empty for no text."""
        if not self.ids:
            return quoted(text) if text else ""
        pieces = self._pattern().split(text)
        return " ".join(self._piece(piece) for piece in pieces if piece)

    def split_first(self, text: str) -> tuple[str | None, str]:
        """The control token that a text starts with, if any, as a literal, and the rest of the text."""
        match = self._pattern().match(text) if self.ids else None
        return (None, text) if match is None else (self._piece(match[0]), text[match.end() :])

    def _piece(self, piece: str) -> str:
        return f"<[{self.ids[piece]}]>" if piece in self.ids else quoted(piece)

    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.ids, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
