"""The tool format of Llama 3.1 and 3.2: the output is a JSON object; more may follow on the next line or after `;`.

    {"name": "get_weather", "parameters": {"city": "Bern"}}

A JSON list of such objects is parsed, too, and so are objects that wrap the call in `function`. Text may come before
an object that starts with the name of an offered tool, spaced as above, and anything before one that follows
`<|python_tag|>`. A brace or bracket starts a tool call only if it goes on as a call of an offered tool, and is text
otherwise. From the arguments on, after `<|python_tag|>` or a semicolon, and in the rest of a list, invalid JSON makes
the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing, TextStream
from onward_server.completion.answer.tool_formats.json_call import parse_arguments, parse_call, parse_call_list
from onward_server.grammar.tool_calls import CallFrame

_TAG = "<|python_tag|>"
_BEFORE_NAME, _AFTER_NAME = '{"name": "', '"'


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
        yield from _parse_call_of(state, trigger.removeprefix(_BEFORE_NAME).removesuffix(_AFTER_NAME))
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
    yield from _follow(state.stream, ("{",))
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
    key = yield from _follow(stream, ('"name"', '"type"', '"function"'))
    if key == '"type"':
        key = yield from _follow(stream, (":",), ('"function"',), (",",), ('"name"', '"function"'))
    is_wrapped = key == '"function"'
    if is_wrapped:
        yield from _follow(stream, (":",), ("{",), ('"name"',))
    name = yield from _follow(stream, (":",), tuple(f'"{name}"' for name in tool_calls.tools))
    yield from _parse_call_of(state, name[1:-1])
    if is_wrapped:
        yield from stream.take_space()
        yield from stream.expect("}")


def _parse_call_of(state: ParserState, name: str) -> Parsing[None]:
    """Parses an object after the name of an offered tool.

    Raises:
        NotAToolCall: No arguments follow.
    """
    stream, tool_calls = state.stream, state.tool_calls
    yield from _follow(stream, (",",), ('"parameters"', '"arguments"'), (":",))
    tool_calls.open(name)
    yield from stream.take_space()
    yield from parse_arguments(stream, tool_calls.add_arguments)
    yield from stream.take_space()
    yield from stream.expect("}")


def _follow(stream: TextStream, *steps: tuple[str, ...]) -> Parsing[str]:
    """For each step in turn, takes white space and then one of the step's literals; returns the last literal."""
    literal: str | None = None
    for literals in steps:
        yield from stream.take_space()
        literal = yield from stream.accept(*literals)
        if literal is None:
            raise NotAToolCall
    assert literal, "there is a step"
    return literal


LLAMA3 = ToolFormat(
    name="llama3",
    prompt_markers=('{"name": function name, "parameters": dictionary of argument name and its value}',),
    control_strings=(_TAG,),
    triggers=(_TAG,),
    before_name=(_BEFORE_NAME,),
    after_name=_AFTER_NAME,
    start_triggers=("{", "["),
    parse=parse,
    frame=CallFrame(trigger=_BEFORE_NAME, begin=_BEFORE_NAME, arguments_begin='", "parameters": ', end="}"),
)
