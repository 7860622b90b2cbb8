"""The beginning of a constrained text that the request gives, so that the output is the rest."""

import json
import re
from dataclasses import dataclass

from onward_server.domain import JsonFormat, ResponseFormat

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"?|[ \t\r\n]+|[^"\s]+|.', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|u[0-9a-fA-F]{4}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPrefix:
    """The beginning of a text."""

    text: str
    field: str
    """Its path in the request, such as `messages[1].content`."""

    def spelled_for(self, response_format: ResponseFormat) -> str:
        """The text as the grammar of a format spells it.

        Grammars of JSON allow one spelling of each string and little white space, but a prefix may spell the same JSON
        in any way.
        """
        return _json_spelling(self.text) if isinstance(response_format, JsonFormat) else self.text


def _json_spelling(text: str) -> str:
    """Replaces white space between JSON tokens by one space, and escapes by the characters that need none."""
    pieces = [
        " " if piece.isspace() else _ESCAPE.sub(_unescaped, piece) if piece.startswith('"') else piece
        for piece in _PIECE.findall(text.lstrip(" \t\r\n"))
    ]
    return "".join(pieces)


def _unescaped(escape: re.Match[str]) -> str:
    try:
        character: str = json.loads(f'"{escape[0]}"')
        character.encode()
    except ValueError:  # not an escape, or half a surrogate pair: the grammar rejects it
        return escape[0]
    return json.dumps(character, ensure_ascii=False)[1:-1]
