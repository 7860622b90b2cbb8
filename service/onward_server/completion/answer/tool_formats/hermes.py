"""The tool format of Hermes, Qwen 2.5, Qwen 3 and Granite 4: a JSON object in a `<tool_call>` element.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Bern"}}
    </tool_call>

The closing tag may be missing, and one element may hold several objects, with or without commas, or a list of them.
Other text in the element, an unknown tool or arguments that are not a JSON object make the tool call malformed. Small
models write `<tools>` instead, or no tag: then an object that does not start with the name of an offered tool is text.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import (
    AFTER_NAME,
    BEFORE_NAME,
    accept_end,
    parse_call,
    parse_call_list,
    parse_call_of,
)
from onward_server.grammar.tool_calls import CallFrame

_BEGIN, _END = "<tool_call>", "</tool_call>"
_TOOLS_BEGIN, _TOOLS_END = "<tools>", "</tools>"


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses the calls of one element, or one call without a tag."""
    if trigger == _BEGIN:
        yield from parse_element(state, _BEGIN, _END)
    elif trigger == _TOOLS_BEGIN:
        yield from _parse_tools_element(state)
    else:
        yield from parse_call_of(state, trigger.removeprefix(BEFORE_NAME).removesuffix(AFTER_NAME))
        state.close_tool_call()


def _parse_tools_element(state: ParserState) -> Parsing[None]:
    """Parses the calls of an element with the tag that is around the tools in the prompt.

    Raises:
        NotAToolCall: Neither an object that starts with the name of an offered tool follows, nor a list of such.
    """
    stream = state.stream
    yield from stream.take_space()
    is_list = (yield from stream.accept("[")) is not None
    yield from stream.take_space()
    if (yield from stream.peek(*(f"{BEFORE_NAME}{name}{AFTER_NAME}" for name in state.tool_calls.tools))) is None:
        raise NotAToolCall
    if is_list:
        yield from parse_call_list(state)
        yield from accept_end(stream, _TOOLS_END)
    else:
        yield from parse_element(state, _TOOLS_BEGIN, _TOOLS_END)


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
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN, _TOOLS_BEGIN),
    before_name=(BEFORE_NAME,),
    after_name=AFTER_NAME,
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        begin='<tool_call>\n{"name": "',
        arguments_begin='", "arguments": ',
        end="}\n</tool_call>",
        separator="\n",
    ),
)
