"""The tool format of LFM2: a list of Python calls between markers.

    <|tool_call_start|>[get_weather(city="Bern"), now()]<|tool_call_end|>

A list of JSON objects, calls without a list, and calls in a Markdown code block of Python are parsed, too. The closing
bracket and the end marker may be missing at the end of the output. An unknown tool, a positional argument or a value
that is not a literal make the tool call malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end
from onward_server.completion.answer.tool_formats.python_call import parse_python_section
from onward_server.grammar.tool_calls import CallFrame, KeywordNotation

_BEGIN, _END = "<|tool_call_start|>", "<|tool_call_end|>"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one section."""
    stream = state.stream
    yield from stream.take_space()
    if (yield from stream.accept("```python")):
        yield from parse_python_section(state, "```")
        yield from accept_end(stream, _END)
    else:
        yield from parse_python_section(state, _END)


LFM2 = ToolFormat(
    name="lfm2",
    prompt_markers=("<|im_start|>", "List of tools: "),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        section_begin=f"{_BEGIN}[",
        arguments_begin="(",
        notation=KeywordNotation(),
        end=")",
        separator=", ",
        section_end=f"]{_END}",
    ),
)
