"""Llama 3.x: the answer is a JSON object, or follows `<|python_tag|>`; more may come after semicolons."""

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_arguments, read_call
from onward_server.completion.answer.tool_formats.reader import Reader, Reading
from onward_server.completion.answer.tool_formats.tool_format import NotACall, ToolFormat
from onward_server.grammar.tool_calls import CallFrame


def read(answer: Answer, trigger: str) -> Reading[None]:
    """Reads calls; an answer that starts with a brace is one only if it goes on as one for an offered tool."""
    reader = answer.reader
    if trigger == "{":
        yield from _read_bare_call(answer)
    else:
        yield from reader.space()
        yield from read_call(answer)
    answer.close_call()
    yield from reader.space()
    while (yield from reader.accept(";")):
        yield from reader.space()
        yield from read_call(answer)
        answer.close_call()
        yield from reader.space()


def _read_bare_call(answer: Answer) -> Reading[None]:
    """Reads an object whose brace has been taken."""
    reader = answer.reader
    key = yield from _follow(reader, ('"name"', '"type"'))
    if key == '"type"':
        yield from _follow(reader, (":",), ('"function"',), (",",), ('"name"',))
    name = yield from _follow(reader, (":",), tuple(f'"{name}"' for name in answer.calls.tools))
    yield from _follow(reader, (",",), ('"parameters"', '"arguments"'), (":",))
    answer.calls.open(name[1:-1])
    yield from reader.space()
    yield from read_arguments(reader, answer.calls.add)
    yield from reader.space()
    yield from reader.need("}")


def _follow(reader: Reader, *steps: tuple[str, ...]) -> Reading[str]:
    """Takes one literal of each step, and gives the last."""
    literal: str | None = None
    for literals in steps:
        yield from reader.space()
        literal = yield from reader.accept(*literals)
        if literal is None:
            raise NotACall
    assert literal, "there is a step"
    return literal


LLAMA3 = ToolFormat(
    name="llama3",
    template_marks=('{"name": function name, "parameters": dictionary of argument name and its value}',),
    control_strings=("<|python_tag|>",),
    triggers=("<|python_tag|>",),
    start_triggers=("{",),
    read=read,
    frame=CallFrame(trigger='{"name": "', begin='{"name": "', arguments_begin='", "parameters": ', end="}"),
)
