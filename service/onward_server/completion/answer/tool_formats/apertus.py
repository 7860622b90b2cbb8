"""The tool format of Apertus: a list of JSON objects, each with the name of the tool as its only key.

    <|tools_prefix|>[{"get_weather": {"city": "Bern"}}, {"now": {}}]<|tools_suffix|>

A call may follow reasoning without the marker that ends it. The closing bracket and the end marker may be missing at
the end of the output. Any other deviation, an unknown tool or arguments that are not a JSON object make the tool call
malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.json_values import parse_string
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end, parse_arguments
from onward_server.grammar.tool_calls import CallFrame

_BEGIN, _END = "<|tools_prefix|>", "<|tools_suffix|>"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one section."""
    stream = state.stream
    yield from stream.take_space()
    yield from stream.expect("[")
    is_at_end = False
    while not is_at_end:
        yield from stream.take_space()
        if (yield from stream.accept("]")):
            break
        yield from _parse_call(state)
        yield from stream.take_space()
        is_at_end = stream.is_at_end or (yield from stream.expect(",", "]")) == "]"
    yield from accept_end(stream, _END)


def _parse_call(state: ParserState) -> Parsing[None]:
    stream, tool_calls = state.stream, state.tool_calls
    yield from stream.expect("{")
    yield from stream.take_space()
    tool_calls.open((yield from parse_string(stream)))
    yield from stream.take_space()
    yield from stream.expect(":")
    yield from stream.take_space()
    yield from parse_arguments(stream, tool_calls.add_arguments)
    yield from stream.take_space()
    if not stream.is_at_end:
        yield from stream.expect("}")
    state.close_tool_call()


APERTUS = ToolFormat(
    name="apertus",
    prompt_markers=(_BEGIN,),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    ends_reasoning=True,
    frame=CallFrame(
        trigger=_BEGIN,
        section_begin=f"{_BEGIN}[",
        begin='{"',
        arguments_begin='": ',
        end="}",
        separator=", ",
        section_end=f"]{_END}",
    ),
)
