"""The tool format of Qwen 3 Coder and Qwen 3.5: an XML-like element with one element for each argument.

    <tool_call>
    <function=get_weather>
    <parameter=city>
    Bern
    </parameter>
    </function>
    </tool_call>

Values are bare text; the tool's schema decides whether one is a string. The outer element may be missing. Without it,
`<function=` followed by anything but an offered tool is text. The end of an argument may be missing, and so may the
end of the function if that of the call is there. Any other deviation or an unknown tool make the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import ElementMarkers, parse_elements
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

_ARGUMENTS = ElementMarkers(
    begin="<parameter=",
    name_ends=(">",),
    end="</parameter>",
    call_end="</function>",
    after_call=("</tool_call>", "<tool_call>", "<function="),
    line_breaks="dropped",
)


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
    yield from parse_elements(state, _ARGUMENTS, tool_calls.tools[name[:-1]])
    yield from stream.take_space()
    yield from stream.accept("</tool_call>")
    stream.take_truncated("</tool_call>")
    state.close_tool_call()


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
        notation=ElementNotation(
            begin="<parameter=",
            name_end=">\n",
            end="\n</parameter>\n",
            excluded=("<parameter=", "</function>"),
        ),
        end="</function>\n</tool_call>",
        separator="\n",
    ),
)
