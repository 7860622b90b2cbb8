"""Parses Python literals as the model writes them, and emits them as JSON."""

import re
from collections.abc import Callable

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import quoted, repaired_number
from onward_server.completion.answer.parsing.python_strings import QUOTES, parse_string
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream

_MAX_DEPTH = 100
_WORD = re.compile(r"[^\s,:=()\[\]{}'\"]*")
_CONSTANTS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
_DIGIT_SEPARATOR = re.compile(r"(?<=[0-9])_(?=[0-9])")
_LEADING_ZEROS = re.compile(r"^([+-]?)0+(?=[0-9])")


def parse_literal(stream: TextStream, emit: Callable[[str], None], depth: int = 0) -> Parsing[None]:
    """Emits the next literal. Strings, lists and dicts are emitted as they arrive; tuples and sets become lists.

    More than Python accepts is parsed: JSON's `true`, `false` and `null`, zeros before a number, line breaks in
    strings, and quotes inside a string that no comma, colon or closing bracket follows.

    Raises:
        MalformedToolCall: No literal follows, it has no equivalent in JSON, or it is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise MalformedToolCall
    begin = yield from stream.accept(*QUOTES, "[", "(", "{")
    match begin:
        case "'" | '"':
            yield from parse_string(stream, emit, begin, is_raw=False)
        case "[":
            emit("[")
            yield from _parse_items(stream, emit, "]", depth)
        case "(":
            yield from _parse_tuple(stream, emit, depth)
        case "{":
            yield from _parse_dict_or_set(stream, emit, depth)
        case _:
            word = yield from stream.take_while(_WORD)
            if word in ("r", "R") and stream.next_character in QUOTES:
                yield from parse_string(stream, emit, (yield from stream.expect(*QUOTES)), is_raw=True)
            else:
                emit(_scalar(word))


def _parse_items(stream: TextStream, emit: Callable[[str], None], end: str, depth: int) -> Parsing[None]:
    """Emits the items up to the closing bracket, and a JSON list's end. A comma may follow the last item."""
    separator = ""
    while True:
        yield from stream.take_space()
        if (yield from stream.accept(end)):
            break
        emit(separator)
        yield from parse_literal(stream, emit, depth + 1)
        separator = ", "
        yield from stream.take_space()
        if (yield from stream.expect(",", end)) == end:
            break
    emit("]")


def _parse_tuple(stream: TextStream, emit: Callable[[str], None], depth: int) -> Parsing[None]:
    """Emits a tuple as a list, or one value in parentheses as that value."""
    yield from stream.take_space()
    if (yield from stream.accept(")")):
        emit("[]")
        return
    first = yield from _literal(stream, depth)
    if (yield from stream.expect(",", ")")) == ")":
        emit(first)
    else:
        yield from _parse_further_items(stream, emit, first, ")", depth)


def _parse_dict_or_set(stream: TextStream, emit: Callable[[str], None], depth: int) -> Parsing[None]:
    yield from stream.take_space()
    if (yield from stream.accept("}")):
        emit("{}")
        return
    key = yield from _literal(stream, depth)
    match (yield from stream.expect(":", ",", "}")):
        case ":":
            yield from _parse_members(stream, emit, key, depth)
        case ",":
            yield from _parse_further_items(stream, emit, key, "}", depth)
        case _:
            emit(f"[{key}]")


def _parse_members(stream: TextStream, emit: Callable[[str], None], key: str, depth: int) -> Parsing[None]:
    """Emits the rest of a dict, after its first key and colon."""
    separator = "{"
    while True:
        emit(f"{separator}{_member_name(key)}: ")
        yield from stream.take_space()
        yield from parse_literal(stream, emit, depth + 1)
        separator = ", "
        yield from stream.take_space()
        if (yield from stream.expect(",", "}")) == "}":
            break
        yield from stream.take_space()
        if (yield from stream.accept("}")):
            break
        key = yield from _literal(stream, depth)
        yield from stream.expect(":")
    emit("}")


def _parse_further_items(
    stream: TextStream, emit: Callable[[str], None], first: str, end: str, depth: int
) -> Parsing[None]:
    """Emits a list of the first item and those that follow its comma."""
    emit(f"[{first}")
    yield from stream.take_space()
    if stream.next_character != end:
        emit(", ")
    yield from _parse_items(stream, emit, end, depth)


def _literal(stream: TextStream, depth: int) -> Parsing[str]:
    """Returns the next literal as JSON, and takes the white space after it."""
    parts: list[str] = []
    yield from parse_literal(stream, parts.append, depth + 1)
    yield from stream.take_space()
    return "".join(parts)


def _member_name(key: str) -> str:
    """The name of a JSON object's member for a key of a dict, both as JSON."""
    if key.startswith(("[", "{")):
        raise MalformedToolCall
    return key if key.startswith('"') else quoted(key)


def _scalar(word: str) -> str:
    """Converts a number or one of Python's constants to JSON."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    number = repaired_number(_LEADING_ZEROS.sub(r"\1", _DIGIT_SEPARATOR.sub("", word)))
    if number is not None:
        return number
    try:
        return str(int(word, 0))
    except ValueError:
        raise MalformedToolCall from None
