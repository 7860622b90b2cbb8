"""The tool format of MiniCPM 5: an XML element for each call, with one element for each argument.

    <function name="get_weather"><param name="city">Bern</param></function>

Values are bare text, or text between `<![CDATA[` and `]]>`; the tool's schema decides whether one is a string.
`<function name=` followed by anything but an offered tool is text. The last end tag may be missing where
the model ends its output. Any other deviation makes the tool call malformed.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.json_text import escaped, quoted
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.argument_types import ArgumentTypes
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_BEGIN, _END = '<function name="', "</function>"
_ARGUMENT_BEGIN, _NAME_END, _ARGUMENT_END = '<param name="', '">', "</param>"
_DATA_BEGIN, _DATA_END = "<![CDATA[", "]]>"
_NAME = re.compile(r'[^"<>]*')


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses one call."""
    stream, tool_calls = state.stream, state.tool_calls
    name = yield from stream.accept(*(f"{name}{_NAME_END}" for name in tool_calls.tools))
    if name is None:
        raise NotAToolCall
    name = name.removesuffix(_NAME_END)
    tool_calls.open(name)
    types = ArgumentTypes(tool_calls.tools[name])
    separator = "{"
    while (yield from stream.accept_after_space(_ARGUMENT_BEGIN)):
        key = yield from stream.take_while(_NAME)
        yield from stream.expect(_NAME_END)
        tool_calls.add_arguments(f"{separator}{quoted(key)}: ")
        yield from _parse_value(state, types, key)
        separator = ", "
    yield from stream.take_space()
    if (yield from stream.accept(_END)) is None and not stream.is_ended_by_model:
        raise MalformedToolCall
    tool_calls.add_arguments("{}" if separator == "{" else "}")
    state.close_tool_call()


def _parse_value(state: ParserState, types: ArgumentTypes, key: str) -> Parsing[None]:
    """Parses a value and the end of its element."""
    stream, tool_calls = state.stream, state.tool_calls
    is_data = (yield from stream.accept(_DATA_BEGIN)) is not None
    ends = Markers.of(_DATA_END if is_data else _ARGUMENT_END)
    if types.is_string(key):
        tool_calls.add_arguments('"')
        end = yield from stream.stream_until(ends, lambda text: tool_calls.add_arguments(escaped(text)))
        tool_calls.add_arguments('"')
    else:
        parts: list[str] = []
        end = yield from stream.stream_until(ends, parts.append)
        tool_calls.add_arguments(types.to_json(key, "".join(parts)))
    if end is None:
        raise MalformedToolCall
    if is_data:
        yield from stream.take_space()
        yield from stream.expect(_ARGUMENT_END)


MINICPM5 = ToolFormat(
    name="minicpm5",
    prompt_markers=(_BEGIN, _ARGUMENT_BEGIN),
    control_strings=(),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        begin=_BEGIN,
        arguments_begin=_NAME_END,
        notation=ElementNotation(begin=_ARGUMENT_BEGIN, name_end=_NAME_END, end=_ARGUMENT_END, excluded=(_DATA_BEGIN,)),
        end=_END,
        separator="\n",
    ),
)
