"""The tool formats of DeepSeek V3.2 and V4: a section of XML-like elements with one element for each argument.

    <|DSML|function_calls>
    <|DSML|invoke name="get_weather">
    <|DSML|parameter name="city" string="true">Bern</|DSML|parameter>
    <|DSML|parameter name="days" string="false">2</|DSML|parameter>
    </|DSML|invoke>
    </|DSML|function_calls>

(In the output, the bars are fullwidth: U+FF5C.) V4 calls the section `tool_calls`. The attribute `string` tells whether
the value is a string or JSON; the tool's schema decides where the attribute is missing or contradicts the schema. The
end of an argument may be missing if another marker follows; the other ends and the start of the section may be missing
in any case. Any other deviation or an unknown tool makes the tool call malformed; the calls before it remain. A call
may also begin inside the reasoning, and ends it.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers
from onward_server.completion.answer.tool_formats.invocations import parse_invocations
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_DSML = "\uff5cDSML\uff5c"
_CALL_BEGIN, _CALL_END = f"<{_DSML}invoke name=", f"</{_DSML}invoke>"
_BEGIN, _END = f"<{_DSML}parameter name=", f"</{_DSML}parameter>"


def _format(name: str, section: str) -> ToolFormat:
    section_begin, section_end = f"<{_DSML}{section}>", f"</{_DSML}{section}>"
    markers = ElementMarkers(
        begin=_BEGIN,
        name_ends=(">",),
        end=_END,
        call_end=_CALL_END,
        after_call=(_CALL_BEGIN, section_end),
        line_breaks="kept",
    )

    def parse(state: ParserState, trigger: str) -> Parsing[None]:
        yield from parse_invocations(state, trigger, _CALL_BEGIN, markers)

    return ToolFormat(
        name=name,
        prompt_markers=(section_begin, _CALL_BEGIN),
        control_strings=(_DSML,),
        triggers=(section_begin, _CALL_BEGIN),
        ends_reasoning=True,
        parse=parse,
        frame=CallFrame(
            trigger=section_begin,
            section_begin=f"{section_begin}\n",
            begin=f'{_CALL_BEGIN}"',
            arguments_begin='">\n',
            notation=ElementNotation(
                begin=f'{_BEGIN}"',
                name_end='"',
                string_begin=' string="true">',
                json_begin=' string="false">',
                end=f"{_END}\n",
                excluded=(_BEGIN, _CALL_END),
            ),
            end=_CALL_END,
            separator="\n",
            section_end=f"\n{section_end}",
        ),
    )


DEEPSEEK_V32 = _format("deepseek_v32", "function_calls")
DEEPSEEK_V4 = _format("deepseek_v4", "tool_calls")
