"""Writes pieces of grammars in llguidance's Lark notation.

A set of grammars is a JSON text. A match starts with the first grammar, which refers to the others by their names.
"""

import json
import re
from collections.abc import Iterable, Mapping

from onward_server.json_value import JsonObject

Grammar = dict[str, object]
"""One grammar of a set: an optional `name`, and a `lark_grammar` or a `json_schema`."""

_ANY_TEXT = "/(?s:.*)/"
_JSON_OPTIONS: JsonObject = {
    # One space, or a line break and indentation, as models write them; never endless white space.
    "whitespace_pattern": r" |\n[ \t]{0,40}",
    # No \u: if a name had two spellings, the model could evade the schema of that property.
    "json_allowed_escapes": 'nrbtf\\"',
}


def grammar_set(*grammars: Grammar) -> str:
    """The text of a set of grammars."""
    return json.dumps({"grammars": grammars})


def json_schema(schema: JsonObject) -> JsonObject:
    """A schema with the options that llguidance compiles it with."""
    return {**schema, "x-guidance": dict(_JSON_OPTIONS)}


def quoted(text: str) -> str:
    """A string literal."""
    return json.dumps(text)


def regex_literal(text: str) -> str:
    """Escapes a text for use inside a regular expression, in the syntax of both Python and Rust."""
    return "".join(map(_escaped, text))


def containing(*parts: str) -> str:
    """A regular expression for every text that contains one of the parts."""
    return f"(?s:.*)(?:{'|'.join(map(regex_literal, parts))})(?s:.*)"


def other_than(*regexes: str) -> str:
    """A part of a terminal that excludes every text matching one of the regular expressions.

    They are joined into one expression, because the lexer states of separate ones multiply.
    """
    return f"~/{'|'.join(f'(?:{regex})' for regex in regexes)}/" if regexes else _ANY_TEXT


def text_without(*parts: str, prefixes: Iterable[str] = ()) -> str:
    """A terminal for texts that contain none of the parts, and do not start with any of the prefixes.

    A text with white space before a prefix is excluded too.
    """
    excluded = [containing(*parts)] if parts else []
    excluded += [rf"\s*{regex_literal(prefix)}(?s:.*)" for prefix in prefixes]
    return f"{_ANY_TEXT} & {other_than(*excluded)}"


def _escaped(character: str) -> str:
    code = ord(character)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class ControlTokens:
    """Writes literals in which the text of a control token becomes that token."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        longest_first = sorted(ids, key=len, reverse=True)
        self._ids = ids
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    def literal(self, text: str) -> str:
        """A sequence of string literals and control tokens; empty for an empty text."""
        return " ".join(self._piece(piece) for piece in self._pattern.split(text) if piece)

    def text_to(self, marker: str, name: str, text: str) -> tuple[str, list[str]]:
        """Writes a text and the marker that ends it.

        Args:
            marker: The marker, which the text does not contain.
            name: The name of the new terminal.
            text: The definition of the text, as a terminal.

        Returns:
            The expression to write in a rule, and the definitions of its terminals.
        """
        first, *rest = (piece for piece in self._pattern.split(marker) if piece)
        end = " ".join(map(self._piece, rest))
        if first in self._ids:
            return f"{name} {self._piece(first)} {end}", [f"{name}: {text}"]
        # One terminal for both: the text alone would also match the beginning of the marker.
        return f"{name} {end}", [f"{name}: {name}_TEXT {quoted(first)}", f"{name}_TEXT: {text}"]

    def _piece(self, piece: str) -> str:
        return f"<[{self._ids[piece]}]>" if piece in self._ids else quoted(piece)
