"""Parses tool calls that are Python calls with keyword arguments, which several tool formats share."""

import re

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import quoted
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.python_literals import parse_literal
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end, parse_call, parse_call_list

_NAME = re.compile(r"[\w.\-]*")
_AFTER_CALL = re.compile(r"[\w,;\]{<`]|$")
"""What may follow a call: another one, the end of a list or the beginning of an end marker."""
_KEYWORD = re.compile(r"[^\s,=()\[\]{}'\"]*")


def parse_python_section(state: ParserState, end: str) -> Parsing[None]:
    """Parses and closes calls up to the end marker: a list of calls, or calls with white space between them.

    The calls may be JSON objects instead. The end marker may be missing after a list and at the end of the output.

    Raises:
        MalformedToolCall: Something other than such calls follows.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    yield from stream.take_space()
    if (yield from stream.accept("[")):
        yield from stream.take_space()
        yield from (parse_call_list if stream.next_character == "{" else parse_python_calls)(state)
        yield from accept_end(stream, end)
    elif not (yield from stream.accept(end)):
        is_at_end = False
        while not is_at_end:
            yield from _parse_call(state)
            is_at_end = yield from accept_end(stream, end)


def parse_python_calls(state: ParserState) -> Parsing[None]:
    """Parses and closes the calls of a list, after its opening bracket. The closing bracket may be missing.

    Raises:
        MalformedToolCall: Something other than such calls follows.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    while True:
        yield from stream.take_space()
        if (yield from stream.accept("]")):
            return
        yield from parse_python_call(state)
        yield from stream.take_space()
        if stream.is_at_end or (yield from stream.expect(",", "]")) == "]":
            return


def parse_python_call(state: ParserState) -> Parsing[None]:
    """Parses and closes one call, such as `get_weather(city="Bern")`.

    Raises:
        MalformedToolCall: No such call follows, or no tool has this name.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    state.tool_calls.open((yield from stream.take_while(_NAME)))
    yield from stream.take_space()
    yield from stream.expect("(")
    yield from close_python_call(state)


def close_python_call(state: ParserState) -> Parsing[None]:
    """Parses the arguments of the open tool call, after the opening parenthesis, and closes the call.

    Raises:
        MalformedToolCall: Something other than keyword arguments with literal values follows; or what follows them is
            neither another call nor an end, which means that a quote within a string has ended it too early.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream, tool_calls = state.stream, state.tool_calls
    separator = "{"
    while True:
        yield from stream.take_space()
        if (yield from stream.accept(")")):
            break
        key = yield from stream.take_while(_KEYWORD)
        yield from stream.take_space()
        yield from stream.expect("=")
        yield from stream.take_space()
        tool_calls.add_arguments(f"{separator}{quoted(key)}: ")
        yield from parse_literal(stream, tool_calls.add_arguments)
        separator = ", "
        yield from stream.take_space()
        if (yield from stream.expect(",", ")")) == ")":
            break
    tool_calls.add_arguments("{}" if separator == "{" else "}")
    yield from stream.take_space()
    if not _AFTER_CALL.match(stream.next_character):
        raise MalformedToolCall
    state.close_tool_call()


def _parse_call(state: ParserState) -> Parsing[None]:
    """Parses and closes one call, written in Python or as JSON, and the comma after it."""
    stream = state.stream
    yield from stream.take_space()
    if stream.next_character == "{":
        yield from parse_call(state)
        state.close_tool_call()
    else:
        yield from parse_python_call(state)
    yield from stream.take_space()
    yield from stream.accept(",", ";")
