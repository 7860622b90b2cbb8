"""The tool format of Gemma 4: a call with bare keys, and strings between `<|"|>` markers.

    <|tool_call>call:get_weather{city:<|"|>Bern<|"|>,days:3}<tool_call|>

Several calls may stand between the markers, and the closing one may be missing at the end of the output. After the
opening one, `call:` may be missing or have another colon before it. Without an opening marker, `call:` at the start of
the output or after white space starts a tool call if the name of an offered tool and a brace follow, and is text
otherwise. Strings in JSON's quotes or without quotes, Python's literals and numbers such as `1.` are parsed, too. An
unknown tool, unbalanced brackets or an argument without a key or a value make the tool call malformed.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.json_text import (
    escaped,
    is_infinity_or_nan,
    json_type,
    quoted,
    repaired_number,
)
from onward_server.completion.answer.parsing.json_values import parse_string
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream
from onward_server.completion.answer.tool_formats.argument_types import ArgumentTypes, python_literal
from onward_server.completion.answer.tool_formats.json_call import accept_end
from onward_server.grammar.tool_calls import BareNotation, CallFrame

_BEGIN, _CALL, _END = "<|tool_call>", "call:", "<tool_call|>"
_QUOTE = '<|"|>'
_QUOTES = Markers.of(_QUOTE)
_NAME = re.compile(r"[^{<]*")
_KEY = re.compile(r"[^:,{}\[\]<]*")
_BARE_VALUE = re.compile(r"[^,{}\[\]<]*")
_CLOSING_BRACKETS = {"{": "}", "[": "]"}


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses the calls between two markers, or calls without an opening marker."""
    if trigger == _BEGIN:
        yield from _parse_section(state)
    else:
        yield from _parse_unmarked(state, trigger)


def _parse_unmarked(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses calls without an opening marker, after `call:` or after white space and the beginning of a call.

    Raises:
        NotAToolCall: No beginning of a call of an offered tool follows `call:`.
    """
    stream, tool_calls = state.stream, state.tool_calls
    beginnings = tuple(f"{name}{{" for name in tool_calls.tools)
    space, _, beginning = trigger.partition(_CALL)
    beginning = beginning or (yield from stream.accept(*beginnings)) or ""
    if not beginning:
        raise NotAToolCall
    state.add_text(space)
    while beginning:
        stream.start_recording(_CALL + beginning)
        name = beginning.removesuffix("{")
        tool_calls.open(name)
        yield from _parse_object(state, ArgumentTypes(tool_calls.tools[name]))
        state.close_tool_call()
        yield from accept_end(stream, _END)
        call = yield from stream.accept_after_space(*(_CALL + beginning for beginning in beginnings))
        beginning = (call or "").removeprefix(_CALL)


def _parse_section(state: ParserState) -> Parsing[None]:
    """Parses the calls between two markers, after the first one."""
    stream = state.stream
    marker: str | None = _BEGIN
    while marker is not None and marker != _END:
        if marker == _BEGIN:
            yield from stream.take_space()
            yield from stream.accept(":")
            yield from stream.accept(_CALL)
        yield from _parse_call(state)
        yield from stream.take_space()
        yield from stream.accept(",")
        yield from stream.take_space()
        marker = None if stream.is_at_end else (yield from stream.expect(_END, _CALL, _BEGIN))
        state.close_tool_call("" if marker is None or marker == _END else marker)


def _parse_call(state: ParserState) -> Parsing[None]:
    name = (yield from state.stream.take_while(_NAME)).strip()
    state.tool_calls.open(name)
    if (yield from state.stream.peek(_END, _BEGIN)):
        state.tool_calls.add_arguments("{}")
    else:
        yield from state.stream.expect("{")
        yield from _parse_object(state, ArgumentTypes(state.tool_calls.tools[name]))


def _parse_object(state: ParserState, types: ArgumentTypes) -> Parsing[None]:
    """Translates the arguments to JSON, token by token, after the opening brace.

    Commas and colons are passed on as written: if they are misplaced, the JSON is invalid, which is found when the tool
    call is closed.
    """
    stream, tool_calls = state.stream, state.tool_calls
    tool_calls.add_arguments("{")
    open_brackets = ["}"]
    is_key = True
    key = ""
    while open_brackets:
        yield from stream.take_space()
        token = yield from stream.accept(_QUOTE, "{", "[", "}", "]", ",", ":")
        if token in (_QUOTE, None) and is_key:
            name = yield from _parse_key(stream, is_quoted=token == _QUOTE)
            key = name if len(open_brackets) == 1 else key
            tool_calls.add_arguments(quoted(name))
        elif token == _QUOTE:
            yield from _parse_string(state)
        elif token is None:
            is_string = len(open_brackets) == 1 and types.is_string(key)
            tool_calls.add_arguments((yield from _parse_bare_value(stream, is_string=is_string)))
        else:
            if token in _CLOSING_BRACKETS:
                open_brackets.append(_CLOSING_BRACKETS[token])
            elif token in ("}", "]") and open_brackets.pop() != token:
                raise MalformedToolCall
            is_key = token in ("{", ",") and open_brackets[-1:] == ["}"]
            tool_calls.add_arguments(token)


def _parse_key(stream: TextStream, *, is_quoted: bool) -> Parsing[str]:
    if not is_quoted:
        return (yield from _parse_bare(stream, _KEY))
    parts: list[str] = []
    if (yield from stream.stream_until(_QUOTES, parts.append)) is None:
        raise MalformedToolCall
    return "".join(parts)


def _parse_string(state: ParserState) -> Parsing[None]:
    tool_calls = state.tool_calls
    tool_calls.add_arguments('"')
    end = yield from state.stream.stream_until(_QUOTES, lambda text: tool_calls.add_arguments(escaped(text)))
    if end is None:
        raise MalformedToolCall
    tool_calls.add_arguments('"')


def _parse_bare(stream: TextStream, characters: re.Pattern[str]) -> Parsing[str]:
    """Parses text without markers around it, or a JSON string."""
    if stream.next_character == '"':
        return (yield from parse_string(stream))
    text = (yield from stream.take_while(characters)).rstrip()
    if not text or stream.is_at_end:
        raise MalformedToolCall
    return text


def _parse_bare_value(stream: TextStream, *, is_string: bool) -> Parsing[str]:
    """Parses a number, a literal of JSON or Python, or a string without its markers, and returns it as JSON.

    `is_string`: the schema allows nothing but a string, so that a number is one.
    """
    if stream.next_character == '"':
        return quoted((yield from _parse_bare(stream, _BARE_VALUE)))
    text = yield from _parse_bare(stream, _BARE_VALUE)
    if (literal := python_literal(text)) is not None:
        return literal
    number = repaired_number(text)
    if number is not None:
        return quoted(text) if is_string else number
    if is_infinity_or_nan(text) and not is_string:
        raise MalformedToolCall
    return text if json_type(text) is not None else quoted(text)


GEMMA4 = ToolFormat(
    name="gemma4",
    prompt_markers=("<|tool_call>call:",),
    control_strings=(_BEGIN, _END, _QUOTE),
    triggers=(_BEGIN,),
    before_name=tuple(f"{space}{_CALL}" for space in " \t\n"),
    after_name="{",
    start_triggers=(_CALL,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        begin=f"{_BEGIN}{_CALL}",
        arguments_begin="{",
        notation=BareNotation(quote=_QUOTE),
        end=f"}}{_END}",
        separator="",
    ),
)
