"""Gemma 4: a call is `call:NAME{…}` with bare keys, and strings between `<|"|>` marks."""

import re

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_text import escaped, json_type, quoted
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Marks, Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import BareNotation, CallFrame

_QUOTE = '<|"|>'
_QUOTES = Marks.of(_QUOTE)
_NAME = re.compile(r"[^{<]*")
_KEY = re.compile(r"[^:,{}\[\]<]*")
_BARE_VALUE = re.compile(r"[^,{}\[\]<]*")
_CLOSERS = {"{": "}", "[": "]"}


def read(answer: Answer, _trigger: str) -> Reading[None]:
    reader = answer.reader
    yield from reader.need("call:")
    answer.calls.open((yield from reader.run(_NAME)).strip())
    yield from _read_object(answer)
    yield from reader.space()
    if not reader.is_at_end:
        yield from reader.need("<tool_call|>")
    answer.close_call()


def _read_object(answer: Answer) -> Reading[None]:
    """Reads the arguments, as JSON; what is not well-formed in it is not well-formed as JSON either."""
    reader, calls = answer.reader, answer.calls
    yield from reader.need("{")
    calls.add("{")
    closers = ["}"]
    is_key = True
    while closers:
        yield from reader.space()
        mark = yield from reader.accept(_QUOTE, "{", "[", "}", "]", ",", ":")
        if mark == _QUOTE:
            yield from _read_string(answer)
        elif mark is None:
            yield from _read_bare(answer, is_key=is_key)
        else:
            if mark in _CLOSERS:
                closers.append(_CLOSERS[mark])
            elif mark in ("}", "]") and closers.pop() != mark:
                raise CallUnparseable
            is_key = mark in ("{", ",") and closers[-1:] == ["}"]
            calls.add(mark)


def _read_string(answer: Answer) -> Reading[None]:
    calls = answer.calls
    calls.add('"')
    if (yield from answer.reader.stream_until(_QUOTES, lambda text: calls.add(escaped(text)))) is None:
        raise CallUnparseable
    calls.add('"')


def _read_bare(answer: Answer, *, is_key: bool) -> Reading[None]:
    """Reads a key, or a value that is a number, a word of JSON or Python's `None`, or a string without its marks."""
    text = (yield from answer.reader.run(_KEY if is_key else _BARE_VALUE)).rstrip()
    if not text or answer.reader.is_at_end:
        raise CallUnparseable
    if is_key or json_type(text) is None:
        answer.calls.add("null" if text == "None" and not is_key else quoted(text))
    else:
        answer.calls.add(text)


GEMMA4 = ToolFormat(
    name="gemma4",
    template_marks=("<|tool_call>call:",),
    control_strings=("<|tool_call>", "<tool_call|>", _QUOTE),
    triggers=("<|tool_call>",),
    read=read,
    frame=CallFrame(
        trigger="<|tool_call>",
        begin="<|tool_call>call:",
        arguments_begin="{",
        notation=BareNotation(quote=_QUOTE),
        end="}<tool_call|>",
        separator="",
    ),
)
