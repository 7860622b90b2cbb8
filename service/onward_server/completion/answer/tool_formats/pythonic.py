"""The tool format of Llama 3.2, Llama 4 and others that are asked for a Python list: the output is a list of calls.

    [get_weather(city="Bern"), now()]

Text may come before and after. A bracket starts a list of calls only if the name of an offered tool and a parenthesis
follow, and is text otherwise. From the parenthesis on, anything but keyword arguments with literal values makes the
tool call malformed; the calls before it remain. A list may also follow `<|python_start|>`, or be in a code block of
Gemma's language `tool_code`, where calls on lines of their own are parsed, too.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.python_call import (
    close_python_call,
    parse_python_calls,
    parse_python_section,
)
from onward_server.grammar.tool_calls import CallFrame, KeywordNotation

_BEGIN, _END = "<|python_start|>", "<|python_end|>"
_BLOCK_BEGIN, _BLOCK_END = "```tool_code", "```"


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses a list of calls."""
    if trigger == "[":
        yield from _parse_bare_list(state)
    elif trigger.startswith("["):
        yield from _parse_calls_of(state, trigger[1:-1])
    else:
        yield from parse_python_section(state, _BLOCK_END if trigger == _BLOCK_BEGIN else _END)


def _parse_bare_list(state: ParserState) -> Parsing[None]:
    """Parses a list after its opening bracket, which started the output; white space may follow.

    Raises:
        NotAToolCall: The list does not start with a call of an offered tool.
    """
    yield from state.stream.take_space()
    name = yield from state.stream.accept(*(f"{name}(" for name in state.tool_calls.tools))
    if name is None:
        raise NotAToolCall
    yield from _parse_calls_of(state, name[:-1])


def _parse_calls_of(state: ParserState, name: str) -> Parsing[None]:
    """Parses a list after the opening parenthesis of its first call, which is of the tool with this name."""
    stream = state.stream
    state.tool_calls.open(name)
    yield from close_python_call(state)
    yield from stream.take_space()
    if not stream.is_at_end and (yield from stream.expect(",", "]")) == ",":
        yield from parse_python_calls(state)


PYTHONIC = ToolFormat(
    name="pythonic",
    prompt_markers=("[func_name1(",),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN, _BLOCK_BEGIN),
    before_name=("[",),
    after_name="(",
    start_triggers=("[",),
    parse=parse,
    frame=CallFrame(
        trigger="[",
        section_begin="[",
        arguments_begin="(",
        notation=KeywordNotation(),
        end=")",
        separator=", ",
        section_end="]",
    ),
)
