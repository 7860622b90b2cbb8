"""The tool format of Hermes, Qwen 2.5, Qwen 3 and Granite 4: a JSON object in a `<tool_call>` element.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Bern"}}
    </tool_call>

The closing tag may be missing, and one element may hold several objects, with or without commas, or a list of them.
Other text in the element, an unknown tool or arguments that are not a JSON object make the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end, parse_call, parse_call_list
from onward_server.grammar.tool_calls import CallFrame


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one element."""
    yield from parse_element(state, "<tool_call>", "</tool_call>")


def parse_element(state: ParserState, begin: str, end: str) -> Parsing[None]:
    """Parses the calls of one element after its opening tag; the closing tag may be missing."""
    stream = state.stream
    yield from stream.take_space()
    if (yield from stream.accept("[")):
        yield from parse_call_list(state)
        yield from accept_end(stream, end)
        return
    while True:
        yield from stream.take_space()
        yield from parse_call(state)
        yield from stream.take_space()
        marker = yield from stream.accept(end, begin, ",")
        if marker is not None or stream.is_at_end or stream.next_character == "{":
            state.close_tool_call("" if marker is None or marker == end else marker)
        if marker == end or stream.is_at_end:
            return


HERMES = ToolFormat(
    name="hermes",
    prompt_markers=("<tool_call>", "</tool_call>", '"name"', '"arguments"'),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>",),
    parse=parse,
    frame=CallFrame(
        trigger="<tool_call>",
        begin='<tool_call>\n{"name": "',
        arguments_begin='", "arguments": ',
        end="}\n</tool_call>",
        separator="\n",
    ),
)
