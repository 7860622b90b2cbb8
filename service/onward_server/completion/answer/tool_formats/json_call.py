"""Parses tool calls that are JSON objects with a name and arguments, which several tool formats share."""

from collections.abc import Callable

from onward_server.completion.answer.parsing.json_values import parse_string, parse_value
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream

_NO_ARGUMENTS = "{}"


def parse_call(state: ParserState) -> Parsing[None]:
    """Parses `{"name": …, "arguments": {…}}` and leaves the tool call open, for the caller to close.

    The keys may come in any order. `parameters` is accepted in place of `arguments`, which may also be missing; other
    keys are skipped.

    Raises:
        MalformedToolCall: No such object follows, or no tool has this name.
    """
    stream, tool_calls = state.stream, state.tool_calls
    early_arguments: list[str] = []
    has_arguments = False
    yield from stream.expect("{")
    while True:
        key = yield from _parse_key(stream)
        match key:
            case "name":
                tool_calls.open((yield from parse_string(stream)))
                tool_calls.add_arguments("".join(early_arguments))
            case "arguments" | "parameters":
                has_arguments = True
                emit = tool_calls.add_arguments if tool_calls.is_open else early_arguments.append
                yield from parse_arguments(stream, emit)
            case _:
                yield from parse_value(stream, _discard)
        yield from stream.take_space()
        if (yield from stream.expect(",", "}")) == "}":
            break
    if not has_arguments:
        tool_calls.add_arguments(_NO_ARGUMENTS)


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


def _parse_key(stream: TextStream) -> Parsing[str]:
    yield from stream.take_space()
    key = yield from parse_string(stream)
    yield from stream.take_space()
    yield from stream.expect(":")
    yield from stream.take_space()
    return key


def _discard(_text: str) -> None:
    pass
