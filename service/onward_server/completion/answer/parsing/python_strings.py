"""Parses Python strings as the model writes them, and emits them as JSON."""

import re
import string
from collections.abc import Callable

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import escaped
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream

QUOTES = ("'", '"')
_IDENTIFIER = re.compile(r"\w*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_CODE_LENGTHS = {"x": 2, "u": 4, "U": 8}


def parse_string(stream: TextStream, emit: Callable[[str], None], quote: str, *, is_raw: bool) -> Parsing[None]:
    """Emits a string after its opening quote, and the strings that follow it directly, which Python joins to it."""
    emit('"')
    next_quote: str | None = quote
    while next_quote is not None:
        next_quote = yield from _parse_string_part(stream, emit, next_quote, is_raw=is_raw)
    emit('"')


def _parse_string_part(
    stream: TextStream, emit: Callable[[str], None], quote: str, *, is_raw: bool
) -> Parsing[str | None]:
    """Emits the characters of one string, and returns the quote that opens a further one."""
    end = quote
    is_empty = False
    if (yield from stream.accept(quote)):
        is_empty = (yield from stream.accept(quote)) is None
        end = quote if is_empty else quote * 3
    ends = Markers.of("\\", end)
    while True:
        marker = end if is_empty else (yield from stream.stream_until(ends, lambda text: emit(escaped(text))))
        is_empty = False
        if marker is None:
            raise MalformedToolCall
        if marker == "\\":
            yield from _parse_escape(stream, emit, quote, is_raw=is_raw)
            continue
        space = yield from stream.take_space()
        if stream.next_character in QUOTES:
            return (yield from stream.expect(*QUOTES))
        if stream.next_character in ",:)]}":
            return None
        emit(escaped(marker + space))
        if space:
            yield from _reject_argument(stream, emit)


def _reject_argument(stream: TextStream, emit: Callable[[str], None]) -> Parsing[None]:
    """Rejects an argument that follows a string without a comma; emits a word that is part of the string."""
    word = yield from stream.take_while(_IDENTIFIER)
    if word and stream.next_character == "=":
        raise MalformedToolCall
    emit(escaped(word))


def _parse_escape(stream: TextStream, emit: Callable[[str], None], quote: str, *, is_raw: bool) -> Parsing[None]:
    """Emits the character that an escape sequence stands for, or an unknown sequence as it is written."""
    if is_raw:
        emit("\\\\" + escaped((yield from stream.accept(quote, "\\")) or ""))
        return
    code = yield from stream.accept("\\", *QUOTES, *_ESCAPES, *_CODE_LENGTHS, *string.octdigits)
    if code is None:
        emit("\\\\")
    elif code in _CODE_LENGTHS:
        length = _CODE_LENGTHS[code]
        digits = yield from _digits(stream, string.hexdigits, length)
        emit(_character(int(digits, 16)) if len(digits) == length else escaped(f"\\{code}{digits}"))
    elif code in string.octdigits:
        emit(_character(int(code + (yield from _digits(stream, string.octdigits, 2)), 8)))
    else:
        emit(escaped(_ESCAPES.get(code, code)))


def _digits(stream: TextStream, digits: str, count: int) -> Parsing[str]:
    """Takes at most `count` digits."""
    taken = ""
    while len(taken) < count and (digit := (yield from stream.accept(*digits))):
        taken += digit
    return taken


def _character(code: int) -> str:
    """A character as it appears inside a JSON string. Two surrogates, each escaped, are one character in JSON."""
    if code > 0x10FFFF:
        raise MalformedToolCall
    return f"\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else escaped(chr(code))
