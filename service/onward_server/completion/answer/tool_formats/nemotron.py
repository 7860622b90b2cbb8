"""The tool format of Nemotron Nano 2 and Llama Nemotron: a list of JSON objects in a `<TOOLCALL>` element.

    <TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Bern"}}, {"name": "now", "arguments": {}}]</TOOLCALL>

A single object without the list is parsed, too. The closing bracket and the closing tag may be missing at the end of
the output. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool call malformed;
the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import list_frame, parse_call_section

_BEGIN, _END = "<TOOLCALL>", "</TOOLCALL>"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one element."""
    yield from parse_call_section(state, _END)


NEMOTRON = ToolFormat(
    name="nemotron",
    prompt_markers=("<TOOLCALL>",),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=list_frame(_BEGIN, _END),
)
