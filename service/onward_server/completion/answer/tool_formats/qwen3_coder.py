"""The tool format of Qwen 3 Coder and Qwen 3.5: an XML-like element with one element for each argument.

    <tool_call>
    <function=get_weather>
    <parameter=city>
    Bern
    </parameter>
    </function>
    </tool_call>

Values are bare text; the tool's schema decides whether one is a string. The outer element may be missing. Without it,
`<function=` followed by anything but an offered tool is text. A missing end tag or an unknown tool make the tool call
malformed.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.json_text import escaped, quoted
from onward_server.completion.answer.parsing.json_values import JsonExtent
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.argument_types import ArgumentTypes
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_NAME = re.compile(r"[^<>\n]*")
_VALUE_ENDS = Markers.of("\n</parameter>", "</parameter>")


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses one call, after `<tool_call>` or `<function=`."""
    stream, tool_calls = state.stream, state.tool_calls
    if trigger == "<tool_call>":
        yield from stream.take_space()
        yield from stream.expect("<function=")
    name = yield from stream.accept(*(f"{name}>" for name in tool_calls.tools))
    if name is None:
        raise MalformedToolCall if trigger == "<tool_call>" else NotAToolCall
    tool_calls.open(name[:-1])
    yield from _parse_arguments(state, ArgumentTypes(tool_calls.tools[name[:-1]]))
    yield from stream.take_space()
    yield from stream.accept("</tool_call>")
    stream.take_truncated("</tool_call>")
    state.close_tool_call()


def _parse_arguments(state: ParserState, types: ArgumentTypes) -> Parsing[None]:
    stream, tool_calls = state.stream, state.tool_calls
    separator = "{"
    while True:
        yield from stream.take_space()
        if (yield from stream.expect("<parameter=", "</function>")) == "</function>":
            tool_calls.add_arguments("{}" if separator == "{" else "}")
            return
        key = yield from stream.take_while(_NAME)
        yield from stream.expect(">")
        yield from stream.accept("\n")
        tool_calls.add_arguments(f"{separator}{quoted(key)}: ")
        yield from _parse_value(state, types, key)
        separator = ", "


def _parse_value(state: ParserState, types: ArgumentTypes, key: str) -> Parsing[None]:
    stream, tool_calls = state.stream, state.tool_calls
    if types.is_string(key):
        tool_calls.add_arguments('"')
        end = yield from stream.stream_until(_VALUE_ENDS, lambda text: tool_calls.add_arguments(escaped(text)))
        tool_calls.add_arguments('"')
    else:
        value = _Value()
        end = yield from stream.stream_until(_VALUE_ENDS, value.add)
        while end is not None and value.is_in_string and types.may_be_nested(key):
            value.add(end)
            end = yield from stream.stream_until(_VALUE_ENDS, value.add)
        tool_calls.add_arguments(types.to_json(key, value.text))
    if end is None:
        raise MalformedToolCall


class _Value:
    """The text of a value as it arrives.

    An end tag inside a string of a list or an object is part of the value; `is_in_string` detects this.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._extent = JsonExtent()
        self._is_nested = False

    def add(self, text: str) -> None:
        if text and not self._parts:
            self._is_nested = text.startswith(("{", "["))
        if text:
            self._parts.append(text)
        if self._is_nested and self._extent.end_of(text, 0) is not None:
            self._is_nested = False

    @property
    def is_in_string(self) -> bool:
        """Whether the text so far ends inside a string of a list or an object."""
        return self._is_nested and self._extent.is_in_string

    @property
    def text(self) -> str:
        return "".join(self._parts)


QWEN3_CODER = ToolFormat(
    name="qwen3_coder",
    prompt_markers=("<function=", "<parameter="),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>", "<function="),
    parse=parse,
    frame=CallFrame(
        trigger="<tool_call>",
        begin="<tool_call>\n<function=",
        arguments_begin=">\n",
        notation=ElementNotation(begin="<parameter=", name_end=">\n", end="\n</parameter>\n"),
        end="</function>\n</tool_call>",
        separator="\n",
    ),
)
