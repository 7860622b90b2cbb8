"""DeepSeek V3.1: a section of calls, each a name and a JSON object between marks."""

from collections.abc import Callable

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_arguments
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Marks, Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame

CALLS_BEGIN, CALLS_END = "<\uff5ctool▁calls▁begin\uff5c>", "<\uff5ctool▁calls▁end\uff5c>"
CALL_BEGIN, CALL_END = "<\uff5ctool▁call▁begin\uff5c>", "<\uff5ctool▁call▁end\uff5c>"
SEPARATOR = "<\uff5ctool▁sep\uff5c>"


def read(answer: Answer, trigger: str) -> Reading[None]:
    yield from read_section(answer, trigger, _read_call)


def read_section(answer: Answer, trigger: str, read_call: Callable[[Answer], Reading[None]]) -> Reading[None]:
    """Reads calls of whatever kind; `read_call` reads what is between the marks of one."""
    reader = answer.reader
    if trigger == CALLS_BEGIN:
        yield from reader.space()
        yield from reader.need(CALL_BEGIN)
    while True:
        yield from read_call(answer)
        yield from reader.space()
        if not reader.is_at_end:
            yield from reader.need(CALL_END)
        answer.close_call()
        yield from reader.space()
        if reader.is_at_end or (yield from reader.need(CALL_BEGIN, CALLS_END)) == CALLS_END:
            return


def open_call(answer: Answer, name_end: Marks) -> Reading[None]:
    """Reads the name of a call, to the mark that ends it."""
    name: list[str] = []
    if (yield from answer.reader.stream_until(name_end, name.append)) is None:
        raise CallUnparseable
    answer.calls.open("".join(name))


def _read_call(answer: Answer) -> Reading[None]:
    yield from open_call(answer, Marks.of(SEPARATOR))
    yield from answer.reader.space()
    yield from read_arguments(answer.reader, answer.calls.add)


DEEPSEEK_V31 = ToolFormat(
    name="deepseek_v31",
    template_marks=(CALLS_BEGIN,),
    control_strings=(CALLS_BEGIN, CALL_BEGIN, SEPARATOR, CALL_END, CALLS_END),
    triggers=(CALLS_BEGIN, CALL_BEGIN),
    read=read,
    frame=CallFrame(
        trigger=CALLS_BEGIN,
        section_begin=CALLS_BEGIN,
        begin=CALL_BEGIN,
        arguments_begin=SEPARATOR,
        end=CALL_END,
        separator="",
        section_end=CALLS_END,
    ),
)
