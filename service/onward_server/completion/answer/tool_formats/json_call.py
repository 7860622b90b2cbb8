"""Parses tool calls that are JSON objects with a name and arguments, which several tool formats share."""

from collections.abc import Callable

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.json_values import parse_string, parse_value
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream
from onward_server.grammar.tool_calls import CallFrame

BEFORE_NAME, AFTER_NAME = '{"name": "', '"'
"""What is around the name where a call starts without a marker."""
_NO_ARGUMENTS = "{}"
_NEXT_OBJECT = ("{", ",{", ", {", ",\n{")


def parse_call(state: ParserState, *, is_begun: bool = False) -> Parsing[None]:
    """Parses `{"name": …, "arguments": {…}}` and leaves the tool call open, for the caller to close.

    The keys may come in any order. `tool_name` is accepted in place of `name`, `parameters` in place of `arguments`,
    which may also be missing. Both may be in an object under the key `function`. Other keys are skipped.

    Args:
        state: The state of the parse.
        is_begun: Whether the opening brace has been taken.

    Raises:
        MalformedToolCall: No such object follows, or no tool has this name.
    """
    early_arguments: list[str] = []
    if not is_begun:
        yield from state.stream.expect("{")
    has_arguments = yield from _parse_members(state, early_arguments, is_nested=False)
    if not state.tool_calls.is_open:
        raise MalformedToolCall
    if not has_arguments:
        state.tool_calls.add_arguments(_NO_ARGUMENTS)


def parse_call_of(state: ParserState, name: str) -> Parsing[None]:
    """Parses an object after the name of an offered tool.

    Raises:
        NotAToolCall: No arguments follow.
    """
    stream, tool_calls = state.stream, state.tool_calls
    yield from follow(stream, (",",), ('"parameters"', '"arguments"'), (":",))
    tool_calls.open(name)
    yield from stream.take_space()
    yield from parse_arguments(stream, tool_calls.add_arguments)
    yield from stream.take_space()
    yield from stream.expect("}")


def follow(stream: TextStream, *steps: tuple[str, ...]) -> Parsing[str]:
    """For each step in turn, takes white space and then one of the step's literals; returns the last literal."""
    literal: str | None = None
    for literals in steps:
        yield from stream.take_space()
        literal = yield from stream.accept(*literals)
        if literal is None:
            raise NotAToolCall
    assert literal, "there is a step"
    return literal


def parse_call_list(state: ParserState) -> Parsing[None]:
    """Parses and closes the calls of a JSON list, after its opening bracket.

    The closing bracket may be missing, and the list may be empty or end with a comma.

    Raises:
        MalformedToolCall: Something other than such calls follows.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    while True:
        yield from stream.take_space()
        if (yield from stream.accept("]")):
            return
        yield from parse_call(state)
        state.close_tool_call()
        yield from stream.take_space()
        if stream.is_at_end or (yield from stream.expect(",", "]")) == "]":
            return


def list_frame(begin: str, end: str) -> CallFrame:
    """The frame of calls that are written as a JSON list between two markers."""
    return CallFrame(
        trigger=begin,
        section_begin=f"{begin}[",
        begin='{"name": "',
        arguments_begin='", "arguments": ',
        end="}",
        separator=", ",
        section_end=f"]{end}",
    )


def parse_call_section(state: ParserState, end: str) -> Parsing[None]:
    """Parses and closes a list of calls, or calls without a list, and takes the end marker, which may be missing.

    Calls without a list may have commas between them.

    Raises:
        MalformedToolCall: Something other than such calls follows.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    yield from stream.take_space()
    if (yield from stream.accept("[")):
        yield from parse_call_list(state)
    else:
        yield from parse_call(state)
        state.close_tool_call()
        while (yield from stream.accept_after_space(*_NEXT_OBJECT)):
            yield from parse_call(state, is_begun=True)
            state.close_tool_call()
    yield from accept_end(stream, end)


def accept_end(stream: TextStream, end: str) -> Parsing[bool]:
    """Takes an end marker, and white space before it; the output may also end within the marker or without it.

    Returns:
        Whether there is nothing more before the end.
    """
    is_end = (yield from stream.accept_after_space(end)) is not None
    stream.take_truncated(end, f"\n{end}")
    return is_end or stream.is_at_end


def parse_arguments(stream: TextStream, emit: Callable[[str], None]) -> Parsing[None]:
    """Emits arguments as written, or decoded if the model writes them as a string that holds JSON.

    Null and an empty string stand for no arguments.

    Raises:
        MalformedToolCall: No JSON value follows.
    """
    if stream.next_character == '"':
        text = yield from parse_string(stream)
        emit(text if text.strip() else _NO_ARGUMENTS)
    elif (yield from stream.accept("null")):
        emit(_NO_ARGUMENTS)
    else:
        yield from parse_value(stream, emit)


def parse_optional_arguments(state: ParserState, *ends: str) -> Parsing[None]:
    """Parses the arguments of the open call; if a marker or the end of the output follows, it has none.

    Args:
        state: The state of the parse.
        ends: The markers that may follow the arguments.

    Raises:
        MalformedToolCall: Something other than arguments follows, or the output is truncated here.
    """
    stream = state.stream
    yield from stream.take_space()
    has_none = (yield from stream.peek(*ends)) is not None or stream.is_ended_by_model
    if has_none:
        state.tool_calls.add_arguments(_NO_ARGUMENTS)
    else:
        yield from parse_arguments(stream, state.tool_calls.add_arguments)


def _parse_members(state: ParserState, early_arguments: list[str], *, is_nested: bool) -> Parsing[bool]:
    """Parses the members of an object and its end.

    Returns:
        Whether there were arguments. Those before the name are in `early_arguments`.
    """
    stream, tool_calls = state.stream, state.tool_calls
    has_arguments = False
    while True:
        key = yield from _parse_key(stream)
        match key:
            case "name" | "tool_name":
                tool_calls.open((yield from parse_string(stream)))
                tool_calls.add_arguments("".join(early_arguments))
            case "arguments" | "parameters":
                has_arguments = True
                emit = tool_calls.add_arguments if tool_calls.is_open else early_arguments.append
                yield from parse_arguments(stream, emit)
            case "function" if not is_nested and (yield from stream.accept("{")):
                has_arguments = (yield from _parse_members(state, early_arguments, is_nested=True)) or has_arguments
            case _:
                yield from parse_value(stream, _discard)
        yield from stream.take_space()
        if (yield from stream.expect(",", "}")) == "}":
            return has_arguments


def _parse_key(stream: TextStream) -> Parsing[str]:
    yield from stream.take_space()
    key = yield from parse_string(stream)
    yield from stream.take_space()
    yield from stream.expect(":")
    yield from stream.take_space()
    return key


def _discard(_text: str) -> None:
    pass
