"""The tool formats of Mistral, which differ by the version of its tokenizer; all start with `[TOOL_CALLS]`.

    mistral_list     [TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Bern"}}]       Mistral Nemo
    mistral          [TOOL_CALLS]get_weather[ARGS]{"city": "Bern"}                              Ministral 3
    mistral_call_id  [TOOL_CALLS]get_weather[CALL_ID]abcDEF123[ARGS]{"city": "Bern"}            Mistral Small 3.2

The parser is the same for all of them and accepts each form. It ignores the call ids that models write, as these may
repeat. Nothing after `[ARGS]` stands for no arguments. Arguments that are not a JSON object, an unknown tool or other
text make the tool call malformed.
"""

import re

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import (
    parse_arguments,
    parse_call,
    parse_call_list,
    parse_optional_arguments,
)
from onward_server.grammar.tool_calls import CallFrame

_NAME = re.compile(r"[^\[{]*")
_CALL_ID = re.compile(r"[a-zA-Z0-9]*")


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses a list of calls, or one call."""
    stream, tool_calls = state.stream, state.tool_calls
    yield from stream.take_space()
    if (yield from stream.accept("[")):
        yield from parse_call_list(state)
        return
    if stream.next_character == "{":
        yield from parse_call(state)
        state.close_tool_call()
        return
    name = yield from stream.take_while(_NAME)
    tool_calls.open(name.strip())
    if (yield from stream.accept("[CALL_ID]")):
        yield from stream.take_space()
        yield from stream.take_while(_CALL_ID)
    if (yield from stream.accept_after_space("[ARGS]")):
        yield from parse_optional_arguments(state, "[TOOL_CALLS]")
    else:
        yield from stream.take_space()
        yield from parse_arguments(stream, tool_calls.add_arguments)
    state.close_tool_call()


MISTRAL_CALL_ID = ToolFormat(
    name="mistral_call_id",
    control_strings=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    triggers=("[TOOL_CALLS]",),
    parse=parse,
    frame=CallFrame(
        trigger="[TOOL_CALLS]", begin="[TOOL_CALLS]", id_begin="[CALL_ID]", arguments_begin="[ARGS]", separator=""
    ),
)
MISTRAL = ToolFormat(
    name="mistral",
    control_strings=("[TOOL_CALLS]", "[ARGS]"),
    triggers=("[TOOL_CALLS]",),
    parse=parse,
    frame=CallFrame(trigger="[TOOL_CALLS]", begin="[TOOL_CALLS]", arguments_begin="[ARGS]", separator=""),
)
MISTRAL_LIST = ToolFormat(
    name="mistral_list",
    control_strings=("[TOOL_CALLS]",),
    triggers=("[TOOL_CALLS]",),
    parse=parse,
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
