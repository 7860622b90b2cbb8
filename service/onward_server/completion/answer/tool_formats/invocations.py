"""Parses calls that are XML-like elements in a section, which several tool formats share.

    <invoke name="get_weather">
    <parameter name="city">Bern</parameter>
    </invoke>

The end of a call may be missing, and so may the end of the section.
"""

from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.elements import HEAD, ElementMarkers, name_of, parse_elements


def parse_invocations(state: ParserState, trigger: str, begin: str, markers: ElementMarkers) -> Parsing[None]:
    """Parses calls and the end of their section, which may be missing. A section may be empty.

    Args:
        state: The state to read from and to write to.
        trigger: The marker just taken: `begin`, or the start of a section.
        begin: The start of a call up to its name.
        markers: The markers of the arguments; `after_call` holds `begin` and the end of a section.

    Raises:
        MalformedToolCall: Something other than calls follows, or a tool is unknown.
    """
    stream, tool_calls = state.stream, state.tool_calls
    marker: str | None = trigger
    if trigger != begin:
        yield from stream.take_space()
        marker = yield from stream.expect(*markers.after_call)
    while marker == begin:
        written = yield from stream.take_while(HEAD)
        yield from stream.expect(">")
        name, _ = name_of(written)
        tool_calls.open(name)
        yield from parse_elements(state, markers, tool_calls.tools[name])
        state.close_tool_call()
        yield from stream.take_space()
        marker = yield from stream.accept(*markers.after_call)
        stream.take_truncated(*markers.after_call)
