"""The tool format of InternLM 2: one JSON object between markers.

    <|action_start|><|plugin|>
    {"name": "get_weather", "parameters": {"city": "Bern"}}<|action_end|>

Several objects or sections and a missing end are parsed, too. Any other deviation, an unknown tool or arguments that
are not a JSON object make the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.hermes import parse_element
from onward_server.grammar.tool_calls import CallFrame

_BEGIN, _END = "<|action_start|><|plugin|>", "<|action_end|>"


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses the calls of one section."""
    yield from parse_element(state, trigger, _END)


INTERNLM2 = ToolFormat(
    name="internlm2",
    prompt_markers=("name=<|plugin|>",),
    control_strings=("<|action_start|>", "<|plugin|>", _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN, begin=f'{_BEGIN}\n{{"name": "', arguments_begin='", "parameters": ', end=f"}}{_END}"
    ),
)
