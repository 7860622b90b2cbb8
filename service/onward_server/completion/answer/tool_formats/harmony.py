"""The tool format of gpt-oss: messages, each with a header that names its channel and, for a call, its recipient.

    <|channel|>analysis<|message|>The user asks for …<|end|><|start|>assistant<|channel|>commentary
     to=functions.get_weather <|constrain|>json<|message|>{"city": "Bern"}<|call|>

(One line in the output.) The channel `analysis` holds reasoning, the others text. A message to any recipient other than
`assistant` is a tool call; if it is empty, the call has no arguments. Output without a header is text. An unknown
recipient, arguments that are not a JSON object or output that ends in a call's header make the tool call malformed.
"""

import re

from onward_server.completion.answer import reasoning_formats
from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.markers import Markers
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import parse_optional_arguments
from onward_server.grammar.tool_calls import CallFrame

_HEADER_BEGINS = ("<|channel|>", " to=", "<|start|>", "<|constrain|>", "<|message|>")
_HEADER_END = Markers.of("<|message|>")
_BODY_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_CHANNEL = re.compile(r"<\|channel\|>(\w+)")
_RECIPIENT = re.compile(r" to=([^\s<]*)")


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses all messages. The prompt ends in a header, or inside the message that the output continues."""
    header = yield from _parse_first_header(state)
    while header is not None:
        end = yield from _parse_body(state, header)
        header = None if end is None else (yield from _parse_header(state, end))


def _parse_first_header(state: ParserState) -> Parsing[str | None]:
    if state.is_reasoning:
        return "<|channel|>analysis"
    begin = None if state.has_text else (yield from state.stream.accept(*_HEADER_BEGINS))
    # Output without a header is text.
    return "<|channel|>final" if begin is None else (yield from _parse_header(state, begin))


def _parse_header(state: ParserState, begin: str) -> Parsing[str | None]:
    """Returns the header that `begin` starts; None if the output ends in it.

    Raises:
        MalformedToolCall: The output ends in the header of a tool call.
    """
    if begin == "<|message|>":
        return ""
    state.stream.start_recording(begin)
    parts = [begin]
    end = yield from state.stream.stream_until(_HEADER_END, parts.append)
    header = "".join(parts)
    if end is None and _recipient(header):
        raise MalformedToolCall
    return None if end is None else header


def _parse_body(state: ParserState, header: str) -> Parsing[str | None]:
    """Parses a message and returns the marker that ends it; None at the end of the output."""
    recipient = _recipient(header)
    if recipient:
        state.tool_calls.open(recipient.removeprefix("functions."))
    else:
        state.stream.stop_recording()
    channel = (_CHANNEL.findall(header) or ["final"])[-1]
    state.is_reasoning = channel == "analysis" and not recipient
    if recipient:
        return (yield from _parse_call(state))
    ends = () if state.is_constrained and not state.is_reasoning else _BODY_ENDS
    emit = state.add_reasoning if state.is_reasoning else state.add_text
    return (yield from state.stream.stream_until(Markers.of(*ends), emit))


def _parse_call(state: ParserState) -> Parsing[str | None]:
    """Parses the arguments and returns the marker after them. Markers inside their strings are text."""
    stream, tool_calls = state.stream, state.tool_calls
    yield from parse_optional_arguments(state, *_BODY_ENDS)
    end = yield from stream.stream_until(Markers.of(*_BODY_ENDS), tool_calls.add_arguments)
    state.close_tool_call()
    return end


def _recipient(header: str) -> str | None:
    """The recipient of a tool call; None for a message to the user."""
    recipients = [name for name in _RECIPIENT.findall(header) if name != "assistant"]
    return recipients[-1] if recipients else None


HARMONY = ToolFormat(
    name="harmony",
    control_strings=reasoning_formats.HARMONY.control_strings,
    triggers=_BODY_ENDS,
    parse=parse,
    frames_output=True,
    frame=CallFrame(
        output_begin="<|channel|>final<|message|>",
        next_message="<|end|><|start|>assistant",
        trigger="<|channel|>commentary to=functions.",
        begin="<|channel|>commentary to=functions.",
        arguments_begin=" <|constrain|>json<|message|>",
        end="<|call|>",
    ),
)
