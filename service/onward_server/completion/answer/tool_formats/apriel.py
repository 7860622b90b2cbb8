"""The tool format of Apriel 1.5 and 1.6 and of Hunyuan A13B: a list of JSON objects in a `<tool_calls>` element.

    <tool_calls>[{"name": "get_weather", "arguments": {"city": "Bern"}}, {"name": "now", "arguments": {}}]</tool_calls>

A single object without the list is parsed, too. The closing bracket and the closing tag may be missing at the end of
the output. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool call malformed;
the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import list_frame, parse_call_section

_BEGIN, _END = "<tool_calls>", "</tool_calls>"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one element."""
    yield from parse_call_section(state, _END)


APRIEL = ToolFormat(
    name="apriel",
    prompt_markers=("<tool_calls>",),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=list_frame(_BEGIN, _END),
)
