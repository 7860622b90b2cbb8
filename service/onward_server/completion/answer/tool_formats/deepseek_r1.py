"""DeepSeek R1 and V3: a section of calls, each a name and a code block of JSON between marks."""

from onward_server.completion.answer.tool_formats import hermes
from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.deepseek_v31 import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    SEPARATOR,
    open_call,
    read_section,
)
from onward_server.completion.answer.tool_formats.json_call import read_arguments
from onward_server.completion.answer.tool_formats.reader import Marks, Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame


def read(answer: Answer, trigger: str) -> Reading[None]:
    """Reads R1's own calls, or those of a distilled Qwen, which may fall back to what Qwen was taught."""
    if trigger == "<tool_call>":
        yield from hermes.read(answer, trigger)
    else:
        yield from read_section(answer, trigger, _read_call)


def _read_call(answer: Answer) -> Reading[None]:
    reader = answer.reader
    yield from reader.need(f"function{SEPARATOR}")
    yield from open_call(answer, Marks.of("\n"))
    yield from reader.need("```json")
    yield from reader.space()
    yield from read_arguments(reader, answer.calls.add)
    yield from reader.space()
    yield from reader.accept("```")


DEEPSEEK_R1 = ToolFormat(
    name="deepseek_r1",
    template_marks=(CALLS_BEGIN, "```json"),
    control_strings=(CALLS_BEGIN, CALL_BEGIN, SEPARATOR, CALL_END, CALLS_END, "<tool_call>", "</tool_call>"),
    triggers=(CALLS_BEGIN, CALL_BEGIN, "<tool_call>"),
    read=read,
    frame=CallFrame(
        trigger=CALLS_BEGIN,
        section_begin=CALLS_BEGIN,
        begin=f"{CALL_BEGIN}function{SEPARATOR}",
        arguments_begin="\n```json\n",
        end=f"\n```{CALL_END}",
        separator="\n",
        section_end=CALLS_END,
    ),
)
