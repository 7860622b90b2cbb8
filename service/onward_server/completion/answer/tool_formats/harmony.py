"""gpt-oss: messages, each with a header that names its channel and, for a call, whom it is to."""

import re

from onward_server.completion.answer.tool_formats import reasoning
from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_arguments
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Marks, Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame

_HEADER_BEGINS = ("<|channel|>", " to=", "<|start|>", "<|constrain|>", "<|message|>")
_HEADER_END = Marks.of("<|message|>")
_BODY_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_CHANNEL = re.compile(r"<\|channel\|>(\w+)")
_RECIPIENT = re.compile(r" to=([^\s<]*)")


def read(answer: Answer, _trigger: str) -> Reading[None]:
    """Reads all messages; the prompt ends in a header, or in the message that it continues."""
    header = yield from _read_first_header(answer)
    while header is not None:
        mark = yield from _read_body(answer, header)
        header = None if mark is None else (yield from _read_header(answer, mark))


def _read_first_header(answer: Answer) -> Reading[str | None]:
    if answer.is_thinking:
        return "<|channel|>analysis"
    begin = None if answer.has_text else (yield from answer.reader.accept(*_HEADER_BEGINS))
    # What has no header is taken for the answer.
    return "<|channel|>final" if begin is None else (yield from _read_header(answer, begin))


def _read_header(answer: Answer, begin: str) -> Reading[str | None]:
    """Reads the rest of a header; None where the answer ends in it.

    Raises:
        CallUnparseable: The answer ends in the header of a call.
    """
    if begin == "<|message|>":
        return ""
    answer.reader.record(begin)
    parts = [begin]
    end = yield from answer.reader.stream_until(_HEADER_END, parts.append)
    header = "".join(parts)
    if end is None and _recipient(header):
        raise CallUnparseable
    return None if end is None else header


def _read_body(answer: Answer, header: str) -> Reading[str | None]:
    """Reads a message to the mark that ends it; None at the end of the answer."""
    recipient = _recipient(header)
    if recipient:
        answer.calls.open(recipient.removeprefix("functions."))
    else:
        answer.reader.forget()
    channel = (_CHANNEL.findall(header) or ["final"])[-1]
    answer.is_thinking = channel == "analysis" and not recipient
    if recipient:
        return (yield from _read_call(answer))
    ends = () if answer.is_bound and not answer.is_thinking else _BODY_ENDS
    return (yield from answer.reader.stream_until(Marks.of(*ends), answer.think if answer.is_thinking else answer.say))


def _read_call(answer: Answer) -> Reading[str | None]:
    """Reads arguments to the mark behind them; in their strings, marks are text."""
    reader, calls = answer.reader, answer.calls
    calls.add((yield from reader.space()))
    if reader.next_character == "{":
        yield from read_arguments(reader, calls.add)
    mark = yield from reader.stream_until(Marks.of(*_BODY_ENDS), calls.add)
    answer.close_call()
    return mark


def _recipient(header: str) -> str | None:
    """Whom a message is to, when that is not us."""
    recipients = [name for name in _RECIPIENT.findall(header) if name != "assistant"]
    return recipients[-1] if recipients else None


HARMONY = ToolFormat(
    name="harmony",
    template_marks=("<|channel|>", "<|message|>"),
    control_strings=reasoning.HARMONY.control_strings,
    triggers=_BODY_ENDS,
    read=read,
    frames_answer=True,
    frame=CallFrame(
        answer_begin="<|channel|>final<|message|>",
        next_message="<|end|><|start|>assistant",
        trigger="<|channel|>commentary to=functions.",
        begin="<|channel|>commentary to=functions.",
        arguments_begin=" <|constrain|>json<|message|>",
        end="<|call|>",
    ),
)
