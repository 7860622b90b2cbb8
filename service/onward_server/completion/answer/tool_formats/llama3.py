"""The tool format of Llama 3.1 and 3.2: the output is a JSON object; more may follow on the next line or after `;`.

    {"name": "get_weather", "parameters": {"city": "Bern"}}

A JSON list of such objects is parsed, too, and so are objects that wrap the call in `function`. Text may come before
an object that starts with the name of an offered tool, spaced as above, and anything before one that follows
`<|python_tag|>`. A brace or bracket starts a tool call only if it goes on as a call of an offered tool, and is text
otherwise. From the arguments on, after `<|python_tag|>` or a semicolon, and in the rest of a list, invalid JSON makes
the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import (
    AFTER_NAME,
    BEFORE_NAME,
    follow,
    parse_call,
    parse_call_list,
    parse_call_of,
)
from onward_server.grammar.tool_calls import CallFrame

_TAG = "<|python_tag|>"


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses one call, and those that follow after semicolons or commas; or a list of calls."""
    stream = state.stream
    if trigger == "[":
        yield from _parse_list(state)
        return
    if trigger == "{":
        yield from _parse_bare_call(state)
    elif trigger == _TAG:
        yield from stream.take_space()
        yield from parse_call(state)
    else:
        yield from parse_call_of(state, trigger.removeprefix(BEFORE_NAME).removesuffix(AFTER_NAME))
    state.close_tool_call()
    while separator := (yield from stream.accept_after_space(";", ",")):
        space = yield from stream.take_space()
        if stream.next_character != "{":
            is_last = stream.is_at_end or (yield from stream.peek(_TAG)) is not None
            state.add_text("" if is_last and separator == ";" else separator + space)
            return
        yield from parse_call(state)
        state.close_tool_call()


def _parse_list(state: ParserState) -> Parsing[None]:
    """Parses a list after its opening bracket, which started the output.

    Raises:
        NotAToolCall: The first item of the list is not a call of an offered tool.
    """
    yield from follow(state.stream, ("{",))
    yield from _parse_bare_call(state)
    state.close_tool_call()
    yield from state.stream.take_space()
    if not state.stream.is_at_end and (yield from state.stream.expect(",", "]")) == ",":
        yield from parse_call_list(state)


def _parse_bare_call(state: ParserState) -> Parsing[None]:
    """Parses an object after its opening brace.

    Raises:
        NotAToolCall: The object is not a call of an offered tool.
    """
    stream, tool_calls = state.stream, state.tool_calls
    key = yield from follow(stream, ('"name"', '"type"', '"function"'))
    if key == '"type"':
        key = yield from follow(stream, (":",), ('"function"',), (",",), ('"name"', '"function"'))
    is_wrapped = key == '"function"'
    if is_wrapped:
        yield from follow(stream, (":",), ("{",), ('"name"',))
    name = yield from follow(stream, (":",), tuple(f'"{name}"' for name in tool_calls.tools))
    yield from parse_call_of(state, name[1:-1])
    if is_wrapped:
        yield from stream.take_space()
        yield from stream.expect("}")


LLAMA3 = ToolFormat(
    name="llama3",
    prompt_markers=('{"name": function name, "parameters": dictionary of argument name and its value}',),
    control_strings=(_TAG,),
    triggers=(_TAG,),
    before_name=(BEFORE_NAME,),
    after_name=AFTER_NAME,
    start_triggers=("{", "["),
    parse=parse,
    frame=CallFrame(trigger=BEFORE_NAME, begin=BEFORE_NAME, arguments_begin='", "parameters": ', end="}"),
)
