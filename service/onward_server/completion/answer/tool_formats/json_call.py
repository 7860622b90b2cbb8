"""Parses tool calls that are JSON objects with a name and arguments, which several tool formats share."""

from collections.abc import Callable

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_values import parse_string, parse_value
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream

_NO_ARGUMENTS = "{}"


def parse_call(state: ParserState) -> Parsing[None]:
    """Parses `{"name": …, "arguments": {…}}` and leaves the tool call open, for the caller to close.

    The keys may come in any order. `tool_name` is accepted in place of `name`, `parameters` in place of `arguments`,
    which may also be missing. Both may be in an object under the key `function`. Other keys are skipped.

    Raises:
        MalformedToolCall: No such object follows, or no tool has this name.
    """
    early_arguments: list[str] = []
    has_arguments = yield from _parse_members(state, early_arguments, is_nested=False)
    if not state.tool_calls.is_open:
        raise MalformedToolCall
    if not has_arguments:
        state.tool_calls.add_arguments(_NO_ARGUMENTS)


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


def parse_call_section(state: ParserState, end: str) -> Parsing[None]:
    """Parses and closes a list of calls, or calls without a list, and takes the end marker, which may be missing.

    Raises:
        MalformedToolCall: Something other than such calls follows.
        SingleToolCallComplete: The request allows one tool call only.
    """
    stream = state.stream
    yield from stream.take_space()
    is_list = (yield from stream.accept("[")) is not None
    if is_list:
        yield from parse_call_list(state)
    else:
        yield from parse_call(state)
        state.close_tool_call()
    space = yield from stream.take_space()
    while not is_list and stream.next_character == "{":
        yield from parse_call(state)
        state.close_tool_call()
        space = yield from stream.take_space()
    if not (yield from accept_end(stream, end)):
        state.add_text(space)


def end_section(state: ParserState, end: str) -> Parsing[None]:
    """Takes the end marker of a section, if it follows. White space before other text belongs to that text."""
    space = yield from state.stream.take_space()
    if not (yield from accept_end(state.stream, end)):
        state.add_text(space)


def accept_end(stream: TextStream, end: str) -> Parsing[bool]:
    """Takes an end marker, which may be incomplete or missing at the end of the output, and returns whether it came."""
    is_end = (yield from stream.accept(end)) is not None
    stream.take_truncated(end)
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
    """Returns whether there were arguments. Those before the name are kept in `early_arguments`."""
    stream, tool_calls = state.stream, state.tool_calls
    has_arguments = False
    yield from stream.expect("{")
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
            case "function" if stream.next_character == "{" and not is_nested:
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
