"""The tool format of Granite 3: a list of JSON objects after `<|tool_call|>`. Granite 4 writes the `hermes` format.

    <|tool_call|>[{"name": "get_weather", "arguments": {"city": "Bern"}}, {"name": "now", "arguments": {}}]

Granite 3.1 writes `<tool_call>` instead, with or without a closing tag, although its chat template asks for
`<|tool_call|>`. A single object without the list is parsed, too. A missing `]` at the end of the output is ignored. Any
other deviation, an unknown tool or arguments that are not a JSON object make the tool call malformed; the calls before
it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import parse_call_section
from onward_server.grammar.tool_calls import CallFrame


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses a list of calls, or one call."""
    yield from parse_call_section(state, "</tool_call>")


GRANITE = ToolFormat(
    name="granite",
    prompt_markers=("<|tool_call|>",),
    control_strings=("<|tool_call|>", "<tool_call>", "</tool_call>"),
    triggers=("<|tool_call|>", "<tool_call>"),
    parse=parse,
    frame=CallFrame(
        trigger="<|tool_call|>",
        section_begin="<|tool_call|>[",
        begin='{"name": "',
        arguments_begin='", "arguments": ',
        end="}",
        separator=", ",
        section_end="]",
    ),
)
