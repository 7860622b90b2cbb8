"""Mistral: after `[TOOL_CALLS]` either a list of JSON objects, or a name, `[ARGS]` and a JSON object."""

import re

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.json_call import read_arguments, read_call_list
from onward_server.completion.answer.tool_formats.reader import Reading
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.grammar.tool_calls import CallFrame

_NAME = re.compile(r"[^\[{]*")
_CALL_ID = re.compile(r"[a-zA-Z0-9]*")


def read(answer: Answer, _trigger: str) -> Reading[None]:
    """Reads a list of calls, or one call; ids that the model writes are passed over, as they may come late or twice."""
    reader, calls = answer.reader, answer.calls
    yield from reader.space()
    if (yield from reader.accept("[")):
        yield from read_call_list(answer)
        return
    name = yield from reader.run(_NAME)
    calls.open(name.strip())
    if (yield from reader.accept("[CALL_ID]")):
        yield from reader.run(_CALL_ID)
    yield from reader.accept("[ARGS]")
    yield from reader.space()
    yield from read_arguments(reader, calls.add)
    answer.close_call()


MISTRAL_CALL_ID = ToolFormat(
    name="mistral_call_id",
    template_marks=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    control_strings=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    triggers=("[TOOL_CALLS]",),
    read=read,
    frame=CallFrame(
        trigger="[TOOL_CALLS]", begin="[TOOL_CALLS]", id_begin="[CALL_ID]", arguments_begin="[ARGS]", separator=""
    ),
)
MISTRAL = ToolFormat(
    name="mistral",
    template_marks=("[TOOL_CALLS]", "[ARGS]"),
    control_strings=("[TOOL_CALLS]", "[ARGS]"),
    triggers=("[TOOL_CALLS]",),
    read=read,
    frame=CallFrame(trigger="[TOOL_CALLS]", begin="[TOOL_CALLS]", arguments_begin="[ARGS]", separator=""),
)
MISTRAL_LIST = ToolFormat(
    name="mistral_list",
    template_marks=("[TOOL_CALLS]",),
    control_strings=("[TOOL_CALLS]",),
    triggers=("[TOOL_CALLS]",),
    read=read,
    frame=CallFrame(
        trigger="[TOOL_CALLS]",
        section_begin="[TOOL_CALLS][",
        begin='{"name": "',
        arguments_begin='", "arguments": ',
        end="}",
        separator=", ",
        section_end="]",
    ),
)
