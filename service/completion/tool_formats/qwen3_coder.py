"""Qwen 3 Coder and Qwen 3.5: a call is an XML-like element, with an element for each argument."""

import re

from service.completion.tool_formats.answer import Answer
from service.completion.tool_formats.argument_types import ArgumentTypes
from service.completion.tool_formats.json_text import escaped, quoted
from service.completion.tool_formats.reader import CallUnparseable, Marks, Reader, Reading
from service.completion.tool_formats.tool_format import NotACall, ToolFormat

_NAME = re.compile(r"[^<>\n]*")
_VALUE_ENDS = Marks.of("\n</parameter>", "</parameter>")


def read(answer: Answer, trigger: str) -> Reading[None]:
    """Reads one call; models now and then leave out the `<tool_call>` around it."""
    reader, calls = answer.reader, answer.calls
    if trigger == "<tool_call>":
        yield from reader.space()
        yield from reader.need("<function=")
    name = yield from reader.accept(*(f"{name}>" for name in calls.tools))
    if name is None:
        raise CallUnparseable if trigger == "<tool_call>" else NotACall
    calls.open(name[:-1])
    yield from _read_arguments(answer, ArgumentTypes(calls.tools[name[:-1]].parameters))
    yield from reader.space()
    yield from reader.accept("</tool_call>")
    answer.close_call()


def _read_arguments(answer: Answer, types: ArgumentTypes) -> Reading[None]:
    reader, calls = answer.reader, answer.calls
    separator = "{"
    while True:
        yield from reader.space()
        if (yield from reader.need("<parameter=", "</function>")) == "</function>":
            calls.add("{}" if separator == "{" else "}")
            return
        key = yield from reader.run(_NAME)
        yield from reader.need(">")
        yield from reader.accept("\n")
        calls.add(f"{separator}{quoted(key)}: ")
        yield from _read_value(reader, answer, types, key)
        separator = ", "


def _read_value(reader: Reader, answer: Answer, types: ArgumentTypes, key: str) -> Reading[None]:
    calls = answer.calls
    if types.is_text(key):
        calls.add('"')
        mark = yield from reader.stream_until(_VALUE_ENDS, lambda text: calls.add(escaped(text)))
        calls.add('"')
    else:
        parts: list[str] = []
        mark = yield from reader.stream_until(_VALUE_ENDS, parts.append)
        calls.add(types.to_json(key, "".join(parts)))
    if mark is None:
        raise CallUnparseable


QWEN3_CODER = ToolFormat(
    name="qwen3_coder",
    template_marks=("<tool_call>", "<function="),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>", "<function="),
    read=read,
)
