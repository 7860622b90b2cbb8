"""Parses arguments that are elements, one for each argument, which several tool formats share.

    <parameter=city>
    Bern
    </parameter>

A value is bare text, so it may contain the markers that surround it. An end marker ends the value only if another
marker follows or the model ends the output there. If the end marker is missing, the value ends where the next argument
begins or the call ends.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import escaped, quoted
from onward_server.completion.answer.parsing.json_values import JsonExtent
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream
from onward_server.completion.answer.tool_formats.argument_types import ArgumentTypes
from onward_server.domain import FunctionTool

HEAD = re.compile(r"[^<>\n]*")
"""The name of a call or an argument, and the white space after it."""
_ATTRIBUTES = re.compile(
    r"""\s*(?:"(?P<name>[^"]*)"|'(?P<other_name>[^']*)')"""
    r"""(?:\s+(?:string=["']?(?P<is_string>true|false)["']?|(?!string=)[\w:-]+=["'][^"']*["']))*\s*"""
)
"""A name that is the value of an attribute, and further attributes, such as `string`."""
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementMarkers:
    """The markers around arguments. White space between them is ignored."""

    begin: str
    """Starts an argument; its name follows."""
    name_ends: tuple[str, ...]
    """The markers between the name and the value. All but the last may be missing."""
    end: str
    """Ends a value."""
    call_end: str
    """Follows the last argument."""
    after_call: tuple[str, ...]
    """The markers that may follow a call. One of them also ends a call whose own end is missing."""
    line_breaks: Literal["kept", "paired", "dropped"]
    """What happens to one line break at the start and one at the end of a value. "kept": both belong to the value.
    "paired": one at the start is dropped, and then one at the end, too. "dropped": each is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The start of an argument up to its value."""

    name: str
    is_string: bool | None
    """Whether the model declares the value to be a string; None: it does not say."""
    text: str
    """The head as written, after the first marker."""
    is_complete: bool


def parse_elements(state: ParserState, markers: ElementMarkers, tool: FunctionTool) -> Parsing[None]:
    """Parses the arguments of the open call, and its end if that is not missing.

    Raises:
        MalformedToolCall: Something other than arguments follows, the output ends inside an argument, or it is
            truncated before the end of the call.
    """
    stream, tool_calls = state.stream, state.tool_calls
    types = ArgumentTypes(tool)
    written: set[str] = set()
    yield from stream.take_space()
    head: _Head | None = None
    if (yield from stream.accept(markers.begin)):
        head = yield from _parse_head(stream, markers, types)
    elif (yield from stream.peek(*markers.after_call)) is None and not stream.is_ended_by_model:
        yield from stream.expect(markers.call_end)
    while head is not None:
        if not head.is_complete:
            raise MalformedToolCall
        tool_calls.add_arguments(f"{', ' if written else '{'}{quoted(head.name)}: ")
        written.add(head.name)
        value = _Value(types, head, tool_calls.add_arguments)
        head = yield from _ValueParser(stream, markers, types, written).parse(value)
    tool_calls.add_arguments("}" if written else "{}")


def _parse_head(stream: TextStream, markers: ElementMarkers, types: ArgumentTypes) -> Parsing[_Head]:
    """Parses the name of an argument and the markers after it."""
    written = yield from stream.take_while(HEAD)
    text, is_complete = written, False
    for name_end in markers.name_ends:
        text += yield from stream.take_space()
        is_complete = (yield from stream.accept(name_end)) is not None
        text += name_end if is_complete else ""
    name, is_string = (written, None) if written in types.names else name_of(written)
    return _Head(name=name, is_string=is_string, text=text, is_complete=is_complete)


def name_of(written: str) -> tuple[str, bool | None]:
    """Returns a name without its quotes, and the value of the attribute `string` after it; None: there is none."""
    match = _ATTRIBUTES.fullmatch(written)
    if match is None:
        return written.strip(), None
    is_string = None if match["is_string"] is None else match["is_string"] == "true"
    return match["name"] if match["name"] is not None else match["other_name"], is_string


class _ValueParser:
    """The parser of one value, and of what ends it."""

    def __init__(self, stream: TextStream, markers: ElementMarkers, types: ArgumentTypes, written: set[str]) -> None:
        self._stream = stream
        self._markers = markers
        self._types = types
        self._written = written

    def parse(self, value: "_Value") -> Parsing[_Head | None]:
        """Returns the head of the next argument; None at the end of the call.

        Raises:
            MalformedToolCall: The output ends first.
        """
        stream, markers = self._stream, self._markers
        may_drop = markers.line_breaks != "kept"
        has_break = may_drop and (yield from stream.accept("\n")) is not None
        drops_break = markers.line_breaks == "dropped" or has_break
        while True:
            literals = Markers.of(markers.begin, markers.end, markers.call_end)
            marker = yield from stream.stream_until(literals, value.add)
            if marker is None:
                raise MalformedToolCall
            if value.is_in_string:
                value.add(marker)
                continue
            is_end, head, text = yield from self._look_beyond(marker)
            if is_end:
                value.close(_SPACE if marker != markers.end else "\n" if drops_break else "")
                return head
            value.add(marker + text)

    def _look_beyond(self, marker: str) -> Parsing[tuple[bool, _Head | None, str]]:
        """Looks at what follows a marker inside a value.

        Returns:
            Whether the value ends at the marker; the head of the next argument, if it follows; the text taken.
        """
        stream, markers = self._stream, self._markers
        if marker == markers.begin:
            head = yield from _parse_head(stream, markers, self._types)
            is_next = head.is_complete and head.name not in self._written and self._types.may_have(head.name)
            return is_next, (head if is_next else None), head.text
        space = yield from stream.take_space()
        if marker == markers.end and (yield from stream.accept(markers.begin)):
            return True, (yield from _parse_head(stream, markers, self._types)), ""
        literals = markers.after_call if marker == markers.call_end else (markers.call_end, *markers.after_call)
        next_marker = yield from stream.peek(*literals)
        if next_marker == markers.call_end:
            yield from stream.expect(markers.call_end)
        return next_marker is not None or stream.is_ended_by_model, None, space


class _Value:
    """Converts one value to JSON as it arrives. White space is held back until more text follows.

    A marker inside a string of a list or an object is part of the value; `is_in_string` detects this.
    """

    def __init__(self, types: ArgumentTypes, head: _Head, emit: Callable[[str], None]) -> None:
        self._types = types
        self._name = head.name
        self._emit = emit
        self._is_string = types.is_string(head.name) or bool(head.is_string and types.allows_string(head.name))
        self._parts: list[str] = []
        self._space: list[str] = []
        self._extent = JsonExtent()
        self._is_nested: bool | None = None if types.may_be_nested(head.name) and not self._is_string else False
        if self._is_string:
            emit('"')

    @property
    def is_in_string(self) -> bool:
        """Whether the text so far ends inside a string of a list or an object."""
        return bool(self._is_nested) and self._extent.is_in_string and not self._extent.is_broken

    def add(self, text: str) -> None:
        """Takes the next piece of the value."""
        kept = text.rstrip(_SPACE)
        if kept:
            self._take("".join((*self._space, kept)))
            self._space = []
        self._space.append(text[len(kept) :])

    def close(self, dropped: str) -> None:
        """Ends the value; `dropped`: a line break to drop at its end, or the characters of white space to drop."""
        space = "".join(self._space)
        self._take("" if dropped == _SPACE else space.removesuffix(dropped))
        self._emit('"' if self._is_string else self._types.to_json(self._name, "".join(self._parts)))

    def _take(self, text: str) -> None:
        if self._is_string:
            self._emit(escaped(text))
            return
        self._parts.append(text)
        if self._is_nested is None and text:
            self._is_nested = text.lstrip(_SPACE).startswith(("{", "["))
        if self._is_nested and self._extent.end_of(text, 0) is not None:
            self._is_nested = False
