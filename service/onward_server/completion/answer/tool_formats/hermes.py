"""Hermes, Qwen 2.5, Qwen 3 and Granite 4: each call is a JSON object in a `<tool_call>` element."""

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_call
from onward_server.completion.answer.tool_formats.reader import Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame


def read(answer: Answer, _trigger: str) -> Reading[None]:
    """Reads what is in one element; models put several calls there now and then, or leave out the closing tag."""
    reader = answer.reader
    while True:
        yield from reader.space()
        yield from read_call(answer)
        yield from reader.space()
        if reader.is_at_end or (yield from reader.accept("</tool_call>")):
            answer.close_call()
            return
        if reader.next_character == "{":
            answer.close_call()


HERMES = ToolFormat(
    name="hermes",
    template_marks=("<tool_call>",),
    control_strings=("<tool_call>", "</tool_call>"),
    triggers=("<tool_call>",),
    read=read,
    frame=CallFrame(
        trigger="<tool_call>",
        begin='<tool_call>\n{"name": "',
        arguments_begin='", "arguments": ',
        end="}\n</tool_call>",
        separator="\n",
    ),
)
