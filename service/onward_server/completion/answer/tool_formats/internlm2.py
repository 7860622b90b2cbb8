"""The tool format of InternLM 2: one JSON object between markers.

    <|action_start|><|plugin|>
    {"name": "get_weather", "parameters": {"city": "Bern"}}<|action_end|>

Several objects or sections, a missing end and space between the first markers are parsed, too. An action other than
that of the plugin is text. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool
call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.hermes import parse_element
from onward_server.grammar.tool_calls import CallFrame

_ACTION, _PLUGIN, _END = "<|action_start|>", "<|plugin|>", "<|action_end|>"
_BEGIN = f"{_ACTION}{_PLUGIN}"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one section."""
    if (yield from state.stream.accept_after_space(_PLUGIN)) is None:
        raise NotAToolCall
    yield from parse_element(state, _BEGIN, _END)


INTERNLM2 = ToolFormat(
    name="internlm2",
    prompt_markers=("name=<|plugin|>",),
    control_strings=(_ACTION, _PLUGIN, _END),
    triggers=(_ACTION,),
    parse=parse,
    frame=CallFrame(
        trigger=_ACTION, begin=f'{_BEGIN}\n{{"name": "', arguments_begin='", "parameters": ', end=f"}}{_END}"
    ),
)
