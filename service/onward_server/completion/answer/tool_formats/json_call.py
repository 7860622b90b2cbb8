"""Reads calls that are JSON objects, and JSON values as they are written; it knows no format's marks."""

import json
import re
from collections.abc import Callable

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Reader, Reading

_OUTSIDE_STRING = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'[\\"]')
_SCALAR = re.compile(r"[^\s,\]}]*")


def read_call(answer: Answer) -> Reading[None]:
    """Reads `{"name": …, "arguments": {…}}`, in any order and perhaps without arguments; the caller closes the call."""
    reader, calls = answer.reader, answer.calls
    early_arguments: list[str] = []
    has_arguments = False
    yield from reader.need("{")
    while True:
        key = yield from _read_key(reader)
        match key:
            case "name":
                calls.open((yield from _read_string(reader)))
                calls.add("".join(early_arguments))
            case "arguments" | "parameters":
                has_arguments = True
                yield from read_arguments(reader, calls.add if calls.is_open else early_arguments.append)
            case _:
                yield from _read_value(reader, _ignore)
        yield from reader.space()
        if (yield from reader.need(",", "}")) == "}":
            break
    if not has_arguments:
        calls.add("{}")


def read_call_list(answer: Answer) -> Reading[None]:
    """Reads calls that are JSON objects in a list, whose bracket has been taken."""
    reader = answer.reader
    while True:
        yield from reader.space()
        yield from read_call(answer)
        answer.close_call()
        yield from reader.space()
        if reader.is_at_end or (yield from reader.need(",", "]")) == "]":
            return


def read_arguments(reader: Reader, emit: Callable[[str], None]) -> Reading[None]:
    """Reads arguments as written, or decoded where they are written as a string that holds JSON."""
    if reader.next_character == '"':
        emit((yield from _read_string(reader)))
    else:
        yield from _read_value(reader, emit)


def _read_key(reader: Reader) -> Reading[str]:
    yield from reader.space()
    key = yield from _read_string(reader)
    yield from reader.space()
    yield from reader.need(":")
    yield from reader.space()
    return key


def _read_string(reader: Reader) -> Reading[str]:
    parts: list[str] = []
    if reader.next_character != '"':
        raise CallUnparseable
    yield from _read_value(reader, parts.append)
    try:
        return str(json.loads("".join(parts)))
    except ValueError:
        raise CallUnparseable from None


def _read_value(reader: Reader, emit: Callable[[str], None]) -> Reading[None]:
    """Passes one value on as written; only its brackets and quotes are looked at."""
    if reader.next_character in ('"', "{", "["):
        yield from reader.stream(JsonExtent().end_of, emit)
    elif scalar := (yield from reader.run(_SCALAR)):
        emit(scalar)
    else:
        raise CallUnparseable


class JsonExtent:
    """Finds where a bracketed or quoted value ends, over pieces of text each seen once."""

    def __init__(self) -> None:
        self._depth = 0
        self.is_in_string = False
        self._num_to_skip = 0

    def end_of(self, text: str, start: int) -> int | None:
        position = start + self._num_to_skip
        while match := (_IN_STRING if self.is_in_string else _OUTSIDE_STRING).search(text, position):
            position = match.end()
            match match[0]:
                case "\\":
                    position += 1
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


def _ignore(_text: str) -> None:
    """Takes what nobody wants."""
