"""The tool format of MiniMax M2: a section of XML-like elements with one element for each argument.

    <minimax:tool_call>
    <invoke name="get_weather">
    <parameter name="city">Bern</parameter>
    </invoke>
    </minimax:tool_call>

Values are bare text; the tool's schema decides whether one is a string. The end of an argument may be missing if
another marker follows, the other ends may be missing in any case. Any other deviation or an unknown tool makes the tool
call malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers
from onward_server.completion.answer.tool_formats.invocations import parse_invocations
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_SECTION_BEGIN, _SECTION_END = "<minimax:tool_call>", "</minimax:tool_call>"
_CALL_BEGIN = "<invoke name="
_ARGUMENTS = ElementMarkers(
    begin="<parameter name=",
    name_ends=(">",),
    end="</parameter>",
    call_end="</invoke>",
    after_call=(_CALL_BEGIN, _SECTION_END),
    line_breaks="paired",
)


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses a section of calls."""
    yield from parse_invocations(state, trigger, _CALL_BEGIN, _ARGUMENTS)


MINIMAX_M2 = ToolFormat(
    name="minimax_m2",
    prompt_markers=(_SECTION_BEGIN, _CALL_BEGIN),
    control_strings=(_SECTION_BEGIN, _SECTION_END),
    triggers=(_SECTION_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_SECTION_BEGIN,
        section_begin=f"{_SECTION_BEGIN}\n",
        begin='<invoke name="',
        arguments_begin='">\n',
        notation=ElementNotation(
            begin='<parameter name="',
            name_end='">',
            end="</parameter>\n",
            excluded=("<parameter name=", "</invoke>"),
            drops_line_breaks=True,
        ),
        end="</invoke>",
        separator="\n",
        section_end=f"\n{_SECTION_END}",
    ),
)
