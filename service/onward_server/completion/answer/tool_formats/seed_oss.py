"""The tool format of Seed-OSS: as `qwen3_coder`, but in an element of its own, and with each argument on one line.

    <seed:tool_call>
    <function=get_weather>
    <parameter=city>Bern</parameter>
    </function>
    </seed:tool_call>

The same deviations as in `qwen3_coder` are parsed, except that the outer element must be there.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers
from onward_server.completion.answer.tool_formats.qwen3_coder import parse_functions
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_BEGIN, _END = "<seed:tool_call>", "</seed:tool_call>"
_ARGUMENTS = ElementMarkers(
    begin="<parameter=",
    name_ends=(">",),
    end="</parameter>",
    call_end="</function>",
    after_call=(_END, _BEGIN, "<function="),
    line_breaks="paired",
)


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one element."""
    yield from state.stream.take_space()
    yield from state.stream.expect("<function=")
    yield from parse_functions(state, _ARGUMENTS)


SEED_OSS = ToolFormat(
    name="seed_oss",
    prompt_markers=(_BEGIN, "<function="),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        begin=f"{_BEGIN}\n<function=",
        arguments_begin=">\n",
        notation=ElementNotation(
            begin="<parameter=",
            name_end=">",
            end="</parameter>\n",
            excluded=("<parameter=", "</function>"),
            drops_line_breaks=True,
        ),
        end=f"</function>\n{_END}",
        separator="\n",
    ),
)
