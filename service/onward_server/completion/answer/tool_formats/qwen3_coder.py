"""The tool format of Qwen 3 Coder and Qwen 3.5: an XML-like element with one element for each argument.

    <tool_call>
    <function=get_weather>
    <parameter=city>
    Bern
    </parameter>
    </function>
    </tool_call>

Values are bare text; the tool's schema decides whether one is a string. The outer element may be missing. Without it,
`<function=` followed by anything but an offered tool is text. The end of an argument may be missing if another marker
follows, the other ends may be missing in any case. Any other deviation or an unknown tool makes the tool call
malformed. A call may also begin inside the reasoning, and ends it.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
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
    """Parses the calls of one element, after `<tool_call>` or `<function=`."""
    if trigger == "<tool_call>":
        yield from state.stream.take_space()
        yield from state.stream.expect("<function=")
    elif (yield from state.stream.peek(*(f"{name}>" for name in state.tool_calls.tools))) is None:
        raise NotAToolCall
    yield from parse_functions(state, _ARGUMENTS)


def parse_functions(state: ParserState, markers: ElementMarkers) -> Parsing[None]:
    """Parses calls after `<function=`, and the first of `markers.after_call` if it follows."""
    stream, tool_calls = state.stream, state.tool_calls
    while True:
        name = (yield from stream.expect(*(f"{name}>" for name in tool_calls.tools)))[:-1]
        tool_calls.open(name)
        yield from parse_elements(state, markers, tool_calls.tools[name])
        state.close_tool_call()
        yield from stream.take_space()
        if (yield from stream.accept("<function=")) is None:
            break
    yield from stream.accept(markers.after_call[0])
    stream.take_truncated(markers.after_call[0])


QWEN3_CODER = ToolFormat(
    name="qwen3_coder",
    prompt_markers=("<function=", "<parameter="),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>", "<function="),
    ends_reasoning=True,
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
