"""Writes pieces of grammars in Lark notation; it knows no formats.

A set of grammars is a JSON text: the first is where a match starts, and refers to the others by their names.
"""

import json
import re
from collections.abc import Iterable, Mapping

from onward_server.json_value import JsonObject

Grammar = dict[str, object]
"""One grammar of a set: an optional `name`, and a `lark_grammar` or a `json_schema`."""

ANY_TEXT = "/(?s:.*)/"
JSON_OPTIONS: JsonObject = {
    # One blank, or a line break and what indents the next line: what models write, but no endless run of it.
    "whitespace_pattern": r" |\n[ \t]{0,40}",
    # No \u: a name could be written in two ways, and so evade what is said of it.
    "json_allowed_escapes": 'nrbtf\\"',
}


def grammar_set(*grammars: Grammar) -> str:
    """The text of a set of grammars."""
    return json.dumps({"grammars": grammars})


def json_schema(schema: JsonObject) -> JsonObject:
    """A written schema with the options that its grammar is compiled with."""
    return {**schema, "x-guidance": dict(JSON_OPTIONS)}


def quoted(text: str) -> str:
    """A string literal."""
    return json.dumps(text)


def regex_literal(text: str) -> str:
    """A regular expression, to stand inside of another, that matches one text."""
    return "".join(_escaped(character) for character in text)


def containing(*parts: str) -> str:
    """A regular expression that matches every text with one of the parts."""
    return f"(?s:.*)(?:{'|'.join(map(regex_literal, parts))})(?s:.*)"


def other_than(*regexes: str) -> str:
    """A part of a terminal: no text that one of the regular expressions matches.

    They are one expression, as a lexer's states for several such parts multiply.
    """
    return f"~/{'|'.join(f'(?:{regex})' for regex in regexes)}/" if regexes else ANY_TEXT


def text_without(*parts: str, prefixes: Iterable[str] = ()) -> str:
    """A terminal for any text that contains none of `parts`, nor starts with one of `prefixes`, white space aside."""
    excluded = [containing(*parts)] if parts else []
    excluded += [rf"\s*{regex_literal(prefix)}(?s:.*)" for prefix in prefixes]
    return f"{ANY_TEXT} & {other_than(*excluded)}"


def _escaped(character: str) -> str:
    """As Python and Rust understand it."""
    code = ord(character)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class ControlTokens:
    """Writes literals in which control tokens stand for themselves."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        longest_first = sorted(ids, key=len, reverse=True)
        self._ids = ids
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    def literal(self, text: str) -> str:
        """A sequence of string literals and control tokens; empty for no text."""
        return " ".join(self._piece(piece) for piece in self._pattern.split(text) if piece)

    def text_to(self, mark: str, name: str, text: str) -> tuple[str, list[str]]:
        """What matches a text, to the mark behind it, and the rules for that.

        Args:
            mark: Not contained in the text.
            name: Of a terminal.
            text: What a terminal is defined as.
        """
        first, *rest = (piece for piece in self._pattern.split(mark) if piece)
        end = " ".join(map(self._piece, rest))
        if first in self._ids:
            return f"{name} {self._piece(first)} {end}", [f"{name}: {text}"]
        # In one terminal, as a terminal for the text alone would go on into the mark.
        return f"{name} {end}", [f"{name}: {name}_TEXT {quoted(first)}", f"{name}_TEXT: {text}"]

    def _piece(self, piece: str) -> str:
        return f"<[{self._ids[piece]}]>" if piece in self._ids else quoted(piece)
