"""The tool formats of GLM 4.5 to 4.7: an element with the name of the tool and two elements for each argument.

    <tool_call>get_weather                                                                      GLM 4.5 and 4.6
    <arg_key>city</arg_key>
    <arg_value>Bern</arg_value>
    </tool_call>

    <tool_call>get_weather<arg_key>city</arg_key><arg_value>Bern</arg_value></tool_call>        GLM 4.7

The parser is the same for both. Values are bare text; the tool's schema decides whether one is a string. The ends of a
key and of a value may be missing if another marker follows, the end of a call may be missing in any case. `<tool_call>`
followed by neither an offered tool nor another marker is text. Any other deviation or an unknown tool makes the tool
call malformed. A call may also begin inside the reasoning, and ends it.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers, parse_elements
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_NAME = re.compile(r"[^<\n]*")
_BEGIN, _END = "<tool_call>", "</tool_call>"
_ARGUMENTS = ElementMarkers(
    begin="<arg_key>",
    name_ends=("</arg_key>", "<arg_value>"),
    end="</arg_value>",
    call_end=_END,
    after_call=(_BEGIN,),
    line_breaks="kept",
)


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses one call."""
    yield from parse_named_call(state, _ARGUMENTS)


def parse_named_call(state: ParserState, markers: ElementMarkers) -> Parsing[None]:
    """Parses a call from its name on.

    Raises:
        NotAToolCall: Neither an offered tool nor another marker follows.
        MalformedToolCall: The tool is unknown, or its arguments are malformed.
    """
    stream, tool_calls = state.stream, state.tool_calls
    yield from stream.take_space()
    name = (yield from stream.take_while(_NAME)).strip().removeprefix("functions.")
    if name not in tool_calls.tools:
        yield from stream.take_space()
        is_call = (yield from stream.peek(markers.begin, markers.call_end)) is not None
        is_truncated = stream.is_at_end and any(offered.startswith(name) for offered in tool_calls.tools)
        raise MalformedToolCall if is_call or is_truncated else NotAToolCall
    tool_calls.open(name)
    yield from parse_elements(state, markers, tool_calls.tools[name])
    state.close_tool_call()


def _format(name: str, line_break: str) -> ToolFormat:
    return ToolFormat(
        name=name,
        prompt_markers=(_BEGIN, "<arg_key>"),
        control_strings=(_BEGIN, _END, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
        triggers=(_BEGIN,),
        ends_reasoning=True,
        parse=parse,
        frame=CallFrame(
            trigger=_BEGIN,
            begin=_BEGIN,
            arguments_begin=line_break,
            notation=ElementNotation(
                begin="<arg_key>",
                name_end=f"</arg_key>{line_break}<arg_value>",
                end=f"</arg_value>{line_break}",
                excluded=("<arg_key>", _END),
            ),
            end=_END,
            separator=line_break,
        ),
    )


GLM45 = _format("glm45", "\n")
GLM47 = _format("glm47", "")
