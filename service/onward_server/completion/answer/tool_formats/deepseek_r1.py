"""The tool format of DeepSeek R1 and V3: as `deepseek_v31`, but each call has a type and a code block of JSON.

    <|tool▁calls▁begin|><|tool▁call▁begin|>function<|tool▁sep|>get_weather
    ```json
    {"city": "Bern"}
    ```<|tool▁call▁end|><|tool▁calls▁end|>

The same deviations as in `deepseek_v31` are parsed, and the closing fence may be missing; any other deviation makes the
tool call malformed. Models distilled from R1 may spell the first marker in other ways, and those of Qwen may also write
the `hermes` format that Qwen was trained on.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats import hermes
from onward_server.completion.answer.tool_formats.call_sections import parse_section
from onward_server.completion.answer.tool_formats.deepseek_v31 import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    MARKERS,
    SEPARATOR,
    open_call,
)
from onward_server.completion.answer.tool_formats.json_call import parse_optional_arguments
from onward_server.grammar.tool_calls import CallFrame

_SPELLINGS = tuple(
    f"<\uff5ctool{text}\uff5c>" for text in ("_calls_begin", " calls begin", r"\_calls\_begin", "▁calls")
)
"""Other spellings of CALLS_BEGIN."""


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses a section of calls, or a call in the `hermes` format."""
    if trigger == "<tool_call>":
        yield from hermes.parse(state, trigger)
    else:
        yield from parse_section(state, trigger, MARKERS, _parse_call)


def _parse_call(state: ParserState) -> Parsing[None]:
    stream = state.stream
    yield from stream.take_space()
    yield from stream.expect("function")
    yield from stream.take_space()
    yield from stream.expect(SEPARATOR)
    yield from stream.take_space()
    yield from open_call(state, Markers.of("\n"))
    yield from stream.take_space()
    yield from stream.expect("```json")
    yield from parse_optional_arguments(state, "```", CALL_END)
    yield from stream.take_space()
    yield from stream.accept("```")


DEEPSEEK_R1 = ToolFormat(
    name="deepseek_r1",
    prompt_markers=(CALLS_BEGIN, "```json"),
    control_strings=(CALLS_BEGIN, CALL_BEGIN, SEPARATOR, CALL_END, CALLS_END, "<tool_call>", "</tool_call>"),
    triggers=(CALLS_BEGIN, *_SPELLINGS, CALL_BEGIN, "<tool_call>"),
    parse=parse,
    frame=CallFrame(
        trigger=CALLS_BEGIN,
        section_begin=CALLS_BEGIN,
        begin=f"{CALL_BEGIN}function{SEPARATOR}",
        arguments_begin="\n```json\n",
        end=f"\n```{CALL_END}",
        separator="\n",
        section_end=CALLS_END,
    ),
)
