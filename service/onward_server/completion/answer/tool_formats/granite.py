"""Granite 3: after `<|tool_call|>` a list of JSON objects; Granite 4 writes as Hermes does."""

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_call, read_call_list
from onward_server.completion.answer.tool_formats.reader import Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame


def read(answer: Answer, _trigger: str) -> Reading[None]:
    reader = answer.reader
    yield from reader.space()
    if (yield from reader.accept("[")):
        yield from read_call_list(answer)
    else:
        yield from read_call(answer)
        answer.close_call()


GRANITE = ToolFormat(
    name="granite",
    template_marks=("<|tool_call|>",),
    control_strings=("<|tool_call|>",),
    triggers=("<|tool_call|>",),
    read=read,
    frame=CallFrame(
        trigger="<|tool_call|>",
        section_begin="<|tool_call|>[",
        begin='{"name": "',
        arguments_begin='", "arguments": ',
        end="}",
        separator=", ",
        section_end="]",
    ),
)
