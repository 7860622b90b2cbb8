"""The tool format of OLMo 3: an element with one Python call a line.

    <function_calls>get_weather(city="Bern")
    now()</function_calls>

A list of calls and JSON objects are parsed, too. The closing tag may be missing at the end of the output. An unknown
tool, a positional argument or a value that is not a literal make the tool call malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.python_call import parse_python_section
from onward_server.grammar.tool_calls import CallFrame, KeywordNotation

_BEGIN, _END = "<function_calls>", "</function_calls>"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one element."""
    yield from parse_python_section(state, _END)


OLMO3 = ToolFormat(
    name="olmo3",
    prompt_markers=(_BEGIN,),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        section_begin=_BEGIN,
        arguments_begin="(",
        notation=KeywordNotation(),
        end=")",
        separator="\n",
        section_end=_END,
    ),
)
