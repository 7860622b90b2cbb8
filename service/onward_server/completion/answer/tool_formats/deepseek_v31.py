"""The tool format of DeepSeek V3.1: a section of calls, each a name and a JSON object between markers.

    <|tool▁calls▁begin|><|tool▁call▁begin|>get_weather<|tool▁sep|>{"city": "Bern"}<|tool▁call▁end|><|tool▁calls▁end|>

(In the output, the bars are fullwidth: U+FF5C.) The markers at the ends may be missing, and so may one of the first
two, and the arguments. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool call
malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.call_sections import SectionMarkers, parse_section
from onward_server.completion.answer.tool_formats.json_call import parse_optional_arguments
from onward_server.grammar.tool_calls import CallFrame

CALLS_BEGIN, CALLS_END = "<\uff5ctool▁calls▁begin\uff5c>", "<\uff5ctool▁calls▁end\uff5c>"
CALL_BEGIN, CALL_END = "<\uff5ctool▁call▁begin\uff5c>", "<\uff5ctool▁call▁end\uff5c>"
SEPARATOR = "<\uff5ctool▁sep\uff5c>"
MARKERS = SectionMarkers(call_begin=CALL_BEGIN, call_end=CALL_END, section_ends=(CALLS_END,))


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses a section of calls."""
    yield from parse_section(state, trigger, MARKERS, _parse_call)


def open_call(state: ParserState, name_end: Markers) -> Parsing[None]:
    """Opens the tool call whose name comes next, up to the marker that ends the name."""
    name: list[str] = []
    if (yield from state.stream.stream_until(name_end, name.append)) is None:
        raise MalformedToolCall
    state.tool_calls.open("".join(name).strip())


def _parse_call(state: ParserState) -> Parsing[None]:
    yield from open_call(state, Markers.of(SEPARATOR))
    yield from parse_optional_arguments(state, CALL_END, CALL_BEGIN, CALLS_END)


DEEPSEEK_V31 = ToolFormat(
    name="deepseek_v31",
    prompt_markers=(CALLS_BEGIN,),
    control_strings=(CALLS_BEGIN, CALL_BEGIN, SEPARATOR, CALL_END, CALLS_END),
    triggers=(CALLS_BEGIN, CALL_BEGIN),
    parse=parse,
    frame=CallFrame(
        trigger=CALLS_BEGIN,
        section_begin=CALLS_BEGIN,
        begin=CALL_BEGIN,
        arguments_begin=SEPARATOR,
        end=CALL_END,
        separator="",
        section_end=CALLS_END,
    ),
)
