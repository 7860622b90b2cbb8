"""Parses sections of calls that each stand between markers, which several tool formats share."""

from collections.abc import Callable
from dataclasses import dataclass

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionMarkers:
    """The markers of a section and of its calls. White space between them is ignored."""

    call_begin: str
    call_end: str
    section_ends: tuple[str, ...]
    """The spellings of the end of a section; the first one is the usual one."""


def parse_section(
    state: ParserState, trigger: str, markers: SectionMarkers, parse_call: Callable[[ParserState], Parsing[None]]
) -> Parsing[None]:
    """Parses the calls of a section, which may be empty, and its end.

    The first `call_begin`, a `call_end` and the end of the section may be missing.

    Args:
        state: The state to read from and to write to.
        trigger: The marker just taken: `call_begin`, or the start of a section.
        markers: The markers.
        parse_call: Opens a call and parses what is between its markers.

    Raises:
        MalformedToolCall: Something other than calls follows.
    """
    stream = state.stream
    marker: str | None = trigger
    if trigger != markers.call_begin:
        yield from stream.take_space()
        marker = yield from stream.accept(markers.call_begin, *markers.section_ends)
    while marker not in markers.section_ends:
        yield from parse_call(state)
        yield from stream.take_space()
        marker = yield from stream.accept(markers.call_end, markers.call_begin, *markers.section_ends)
        stream.take_truncated(markers.call_end)
        if marker is None and not stream.is_at_end:
            raise MalformedToolCall
        state.close_tool_call(markers.call_begin if marker == markers.call_begin else "")
        if marker == markers.call_end:
            marker = yield from stream.accept_after_space(markers.call_begin, *markers.section_ends)
            stream.take_truncated(markers.call_begin, *markers.section_ends)
        if marker is None:
            return
