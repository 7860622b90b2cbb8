"""Qwen 3 Coder and Qwen 3.5: a call is an XML-like element, with an element for each argument."""

import re

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.argument_types import ArgumentTypes
from onward_server.completion.answer.tool_formats.json_call import JsonExtent
from onward_server.completion.answer.tool_formats.json_text import escaped, quoted
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Marks, Reader, Reading
from onward_server.completion.answer.tool_formats.tool_format import NotACall, ToolFormat
from onward_server.grammar.tool_calls import CallFrame, ElementNotation

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
    reader.take_cut("</tool_call>")
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
    if types.is_text(key):
        answer.calls.add('"')
        mark = yield from reader.stream_until(_VALUE_ENDS, lambda text: answer.calls.add(escaped(text)))
        answer.calls.add('"')
    else:
        value = _Value()
        mark = yield from reader.stream_until(_VALUE_ENDS, value.add)
        while mark is not None and value.is_in_string and types.may_be_nested(key):
            value.add(mark)
            mark = yield from reader.stream_until(_VALUE_ENDS, value.add)
        answer.calls.add(types.to_json(key, value.text))
    if mark is None:
        raise CallUnparseable


class _Value:
    """The text of a value while it comes: where it is a list or an object, a mark in a string of it ends nothing."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._extent = JsonExtent()
        self._is_nested = False

    def add(self, text: str) -> None:
        if text and not self._parts:
            self._is_nested = text.startswith(("{", "["))
        if text:
            self._parts.append(text)
        if self._is_nested and self._extent.end_of(text, 0) is not None:
            self._is_nested = False

    @property
    def is_in_string(self) -> bool:
        return self._is_nested and self._extent.is_in_string

    @property
    def text(self) -> str:
        return "".join(self._parts)


QWEN3_CODER = ToolFormat(
    name="qwen3_coder",
    template_marks=("<tool_call>", "<function="),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>", "<function="),
    read=read,
    frame=CallFrame(
        trigger="<tool_call>",
        begin="<tool_call>\n<function=",
        arguments_begin=">\n",
        notation=ElementNotation(begin="<parameter=", name_end=">\n", end="\n</parameter>\n"),
        end="</function>\n</tool_call>",
        separator="\n",
    ),
)
