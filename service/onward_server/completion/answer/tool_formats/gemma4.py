"""The tool format of Gemma 4: a call with bare keys, and strings between `<|"|>` markers.

    <|tool_call>call:get_weather{city:<|"|>Bern<|"|>,days:3}<tool_call|>

Strings without their markers and Python's `None` are parsed, too, and the closing marker may be missing at the end of
the output. An unknown tool, unbalanced brackets or an argument without a key or a value make the tool call malformed.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import escaped, json_type, quoted
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.grammar.tool_calls import BareNotation, CallFrame

_QUOTE = '<|"|>'
_QUOTES = Markers.of(_QUOTE)
_NAME = re.compile(r"[^{<]*")
_KEY = re.compile(r"[^:,{}\[\]<]*")
_BARE_VALUE = re.compile(r"[^,{}\[\]<]*")
_CLOSING_BRACKETS = {"{": "}", "[": "]"}


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses one call."""
    stream = state.stream
    yield from stream.expect("call:")
    state.tool_calls.open((yield from stream.take_while(_NAME)).strip())
    yield from _parse_object(state)
    yield from stream.take_space()
    if not stream.is_at_end:
        yield from stream.expect("<tool_call|>")
    state.close_tool_call()


def _parse_object(state: ParserState) -> Parsing[None]:
    """Translates the arguments to JSON, token by token.

    Commas and colons are passed on as written: if they are misplaced, the JSON is invalid, which is found when the tool
    call is closed.
    """
    stream, tool_calls = state.stream, state.tool_calls
    yield from stream.expect("{")
    tool_calls.add_arguments("{")
    open_brackets = ["}"]
    is_key = True
    while open_brackets:
        yield from stream.take_space()
        token = yield from stream.accept(_QUOTE, "{", "[", "}", "]", ",", ":")
        if token == _QUOTE:
            yield from _parse_string(state)
        elif token is None:
            yield from _parse_bare(state, is_key=is_key)
        else:
            if token in _CLOSING_BRACKETS:
                open_brackets.append(_CLOSING_BRACKETS[token])
            elif token in ("}", "]") and open_brackets.pop() != token:
                raise MalformedToolCall
            is_key = token in ("{", ",") and open_brackets[-1:] == ["}"]
            tool_calls.add_arguments(token)


def _parse_string(state: ParserState) -> Parsing[None]:
    tool_calls = state.tool_calls
    tool_calls.add_arguments('"')
    end = yield from state.stream.stream_until(_QUOTES, lambda text: tool_calls.add_arguments(escaped(text)))
    if end is None:
        raise MalformedToolCall
    tool_calls.add_arguments('"')


def _parse_bare(state: ParserState, *, is_key: bool) -> Parsing[None]:
    """Parses a key, or a value: a number, a literal of JSON or Python's `None`, or a string without its markers."""
    text = (yield from state.stream.take_while(_KEY if is_key else _BARE_VALUE)).rstrip()
    if not text or state.stream.is_at_end:
        raise MalformedToolCall
    if is_key or json_type(text) is None:
        state.tool_calls.add_arguments("null" if text == "None" and not is_key else quoted(text))
    else:
        state.tool_calls.add_arguments(text)


GEMMA4 = ToolFormat(
    name="gemma4",
    prompt_markers=("<|tool_call>call:",),
    control_strings=("<|tool_call>", "<tool_call|>", _QUOTE),
    triggers=("<|tool_call>",),
    parse=parse,
    frame=CallFrame(
        trigger="<|tool_call>",
        begin="<|tool_call>call:",
        arguments_begin="{",
        notation=BareNotation(quote=_QUOTE),
        end="}<tool_call|>",
        separator="",
    ),
)
