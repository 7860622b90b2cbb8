"""The tool formats of LongCat: as `hermes` or as `glm45`, with markers of its own.

    <longcat_tool_call>                                             longcat          LongCat Flash Chat
    {"name": "get_weather", "arguments": {"city": "Bern"}}
    </longcat_tool_call>

    <longcat_tool_call>get_weather                                  longcat_lite     LongCat Flash Lite
    <longcat_arg_key>city</longcat_arg_key>
    <longcat_arg_value>Bern</longcat_arg_value>
    </longcat_tool_call>

The parser is the same for both. Inside an element, the same deviations as in `hermes` and `glm45` are parsed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers
from onward_server.completion.answer.tool_formats.glm45 import parse_named_call
from onward_server.completion.answer.tool_formats.hermes import parse_element
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_BEGIN, _END = "<longcat_tool_call>", "</longcat_tool_call>"
_ARGUMENTS = ElementMarkers(
    begin="<longcat_arg_key>",
    name_ends=("</longcat_arg_key>", "<longcat_arg_value>"),
    end="</longcat_arg_value>",
    call_end=_END,
    after_call=(_BEGIN,),
    line_breaks="kept",
)
_ELEMENTS = ElementNotation(
    begin="<longcat_arg_key>",
    name_end="</longcat_arg_key>\n<longcat_arg_value>",
    end="</longcat_arg_value>\n",
    excluded=("<longcat_arg_key>", _END),
)


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses one call, or the objects of one element."""
    yield from state.stream.take_space()
    if state.stream.next_character == "{":
        yield from parse_element(state, _BEGIN, _END)
    else:
        yield from parse_named_call(state, _ARGUMENTS)


LONGCAT = ToolFormat(
    name="longcat",
    prompt_markers=(_BEGIN, '"arguments"'),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        begin=f'{_BEGIN}\n{{"name": "',
        arguments_begin='", "arguments": ',
        end=f"}}\n{_END}",
        separator="\n",
    ),
)
LONGCAT_LITE = ToolFormat(
    name="longcat_lite",
    prompt_markers=(_BEGIN, "<longcat_arg_key>"),
    control_strings=(
        *(_BEGIN, _END, "<longcat_arg_key>", "</longcat_arg_key>"),
        *("<longcat_arg_value>", "</longcat_arg_value>"),
    ),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(trigger=_BEGIN, begin=_BEGIN, arguments_begin="\n", notation=_ELEMENTS, end=_END, separator="\n"),
)
