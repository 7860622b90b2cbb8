"""The tool formats of Functionary, in which the arguments follow the name of the tool.

    functionary      <function=get_weather>{"city": "Bern"}</function>                         Functionary 3.1
    functionary_v32  get_weather                                                               Functionary 3.2
                     {"city": "Bern"}>>>now
                     {}

In version 3.2, `>>>` and a line with the recipient begin each part of the output. The prompt has the first `>>>`; text
is for the recipient `all`. `<function=` or `>>>` followed by anything but an offered tool or that recipient is text.
The closing tag may be missing. Arguments that are not a JSON object make the tool call malformed.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end, parse_arguments
from onward_server.grammar.tool_calls import CallFrame

_BEGIN, _END = "<function=", "</function>"
_RECIPIENT, _ALL = ">>>", "all\n"


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses one call of version 3.1."""
    stream, tool_calls = state.stream, state.tool_calls
    name = yield from stream.accept(*(f"{name}>" for name in tool_calls.tools))
    if name is None:
        raise NotAToolCall
    tool_calls.open(name[:-1])
    yield from stream.take_space()
    if (yield from stream.accept(_END)):
        tool_calls.add_arguments("{}")
        state.close_tool_call()
    else:
        yield from parse_arguments(stream, tool_calls.add_arguments)
        state.close_tool_call()
        yield from accept_end(stream, _END)


def parse_v32(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the output of version 3.2. The prompt ends in `>>>`, or inside the text that the output continues."""
    stream = state.stream
    is_recipient_next = not state.has_text
    marker: str | None = ""
    while marker is not None:
        recipients = (_ALL, *(f"{name}\n" for name in state.tool_calls.tools)) if is_recipient_next else ()
        recipient = yield from stream.accept(*recipients)
        is_recipient_next = True
        is_text = recipient is None or recipient == _ALL
        if recipient is None:
            state.add_text(marker)
        elif recipient != _ALL:
            stream.start_recording(f"{marker}{recipient}")
            yield from _parse_call_v32(state, recipient.rstrip())
        ends = Markers.of() if is_text and state.is_constrained else Markers.of(_RECIPIENT)
        marker = yield from stream.stream_until(ends, state.add_text)


def _parse_call_v32(state: ParserState, name: str) -> Parsing[None]:
    stream, tool_calls = state.stream, state.tool_calls
    tool_calls.open(name)
    yield from stream.take_space()
    yield from parse_arguments(stream, tool_calls.add_arguments)
    state.close_tool_call()
    yield from stream.take_space()
    stream.stop_recording()


FUNCTIONARY = ToolFormat(
    name="functionary",
    prompt_markers=("<function=", "</function>"),
    control_strings=(),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(trigger=_BEGIN, begin=_BEGIN, arguments_begin=">", end=_END, separator=""),
)
FUNCTIONARY_V32 = ToolFormat(
    name="functionary_v32",
    control_strings=(),
    triggers=(_RECIPIENT,),
    parse=parse_v32,
    frames_output=True,
    frame=CallFrame(output_begin=_ALL, next_message=_RECIPIENT, trigger="", arguments_begin="\n", separator=_RECIPIENT),
)
