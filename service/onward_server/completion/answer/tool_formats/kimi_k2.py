"""The tool format of Kimi K2: a section of calls, each an id that holds the name, and a JSON object.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Bern"}
    <|tool_call_end|><|tool_calls_section_end|>

(One line in the output.) The id becomes the id of the tool call, as the model expects to find it in the conversation.
The markers around the section and at the ends of calls may be missing, and so may `functions.`, the number and the
arguments. If only one tool is offered, the id need not name it: after calls with other ids, the model may continue
their pattern. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool call
malformed; the calls before it remain. The markers of the section may be spelled `tool_call_section`. A call may also
begin inside the reasoning, and ends it.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.call_sections import SectionMarkers, parse_section
from onward_server.completion.answer.tool_formats.json_call import parse_optional_arguments
from onward_server.grammar.tool_calls import CallFrame

_SECTION_BEGIN, _SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_SINGULAR_BEGIN, _SINGULAR_END = "<|tool_call_section_begin|>", "<|tool_call_section_end|>"
_CALL_BEGIN, _CALL_END = "<|tool_call_begin|>", "<|tool_call_end|>"
_ARGUMENTS_BEGIN = "<|tool_call_argument_begin|>"
_MARKERS = SectionMarkers(call_begin=_CALL_BEGIN, call_end=_CALL_END, section_ends=(_SECTION_END, _SINGULAR_END))
_PREFIX = "functions."
_INDEX = re.compile(r":\d+$")


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses a section of calls."""
    yield from parse_section(state, trigger, _MARKERS, _parse_call)


def _parse_call(state: ParserState) -> Parsing[None]:
    """Parses a call after its first marker, up to the end of its arguments."""
    stream, tool_calls = state.stream, state.tool_calls
    parts: list[str] = []
    if (yield from stream.stream_until(Markers.of(_ARGUMENTS_BEGIN), parts.append)) is None:
        raise MalformedToolCall
    call_id = "".join(parts).strip()
    name = _INDEX.sub("", call_id).removeprefix(_PREFIX)
    if name not in tool_calls.tools and len(tool_calls.tools) == 1:
        (name,) = tool_calls.tools
    tool_calls.open(name, call_id)
    yield from parse_optional_arguments(state, _CALL_END, _CALL_BEGIN, *_MARKERS.section_ends)


KIMI_K2 = ToolFormat(
    name="kimi_k2",
    prompt_markers=("<|im_system|>tool_declare<|im_middle|>",),
    control_strings=(_SECTION_BEGIN, _CALL_BEGIN, _ARGUMENTS_BEGIN, _CALL_END, _SECTION_END),
    triggers=(_SECTION_BEGIN, _SINGULAR_BEGIN, _CALL_BEGIN),
    ends_reasoning=True,
    parse=parse,
    frame=CallFrame(
        trigger=_SECTION_BEGIN,
        section_begin=_SECTION_BEGIN,
        begin=f"{_CALL_BEGIN}{_PREFIX}",
        id_begin=":",
        id_pattern="[0-9]{1,9}",
        arguments_begin=_ARGUMENTS_BEGIN,
        end=_CALL_END,
        separator="",
        section_end=_SECTION_END,
    ),
)
