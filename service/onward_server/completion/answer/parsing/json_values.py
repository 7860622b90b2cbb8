"""Parsers of single JSON values, which they emit as the model writes them."""

import json
import re
from collections.abc import Callable

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream
from onward_server.json_value import has_lone_surrogates

_OUTSIDE_STRING = re.compile(r'["{}\[\]\\]')
_IN_STRING = re.compile(r'[\\"]')
_SCALAR = re.compile(r"[^\s,\]}]*")


def parse_value(stream: TextStream, emit: Callable[[str], None]) -> Parsing[None]:
    """Emits one value as written. Only brackets and quotes are checked, so what is emitted need not be valid JSON.

    Raises:
        MalformedToolCall: No value follows, or the output ends inside it.
    """
    if stream.next_character in ('"', "{", "["):
        yield from stream.stream_to(JsonExtent().end_of, emit)
    elif scalar := (yield from stream.take_while(_SCALAR)):
        emit(scalar)
    else:
        raise MalformedToolCall


def parse_string(stream: TextStream) -> Parsing[str]:
    """Returns the value of the next string.

    Raises:
        MalformedToolCall: No string follows, or it is not valid JSON or not valid Unicode.
    """
    parts: list[str] = []
    if stream.next_character != '"':
        raise MalformedToolCall
    yield from parse_value(stream, parts.append)
    text = "".join(parts)
    try:
        value = str(json.loads(text))
    except ValueError:
        raise MalformedToolCall from None
    if has_lone_surrogates(text, value):
        raise MalformedToolCall
    return value


class JsonExtent:
    """Finds where a string, list or object ends in text that arrives in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self.is_in_string = False
        """Whether the text so far ends inside a string."""
        self.is_broken = False
        """Whether a backslash was found outside a string, so that the text is not JSON."""
        self._num_to_skip = 0

    def end_of(self, text: str, start: int) -> int | None:
        """Takes the next piece, `text[start:]`, and returns where in `text` the value ends; None if it goes on."""
        position = start + self._num_to_skip
        while match := (_IN_STRING if self.is_in_string else _OUTSIDE_STRING).search(text, position):
            position = match.end()
            match match[0]:
                case "\\" if self.is_in_string:
                    position += 1
                case "\\":
                    self.is_broken = True
                case '"':
                    self.is_in_string = not self.is_in_string
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
            if self._depth <= 0 and not self.is_in_string:
                return position
        self._num_to_skip = max(0, position - len(text))
        return None
