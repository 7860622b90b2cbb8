"""The tool formats of Cohere's models: a list of JSON objects with a `tool_name` and `parameters`.

    command_r7b  <|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Bern"}}]
                 <|END_ACTION|>                                                         Command R7B and Command A
    command_r    Action: ```json
                 [{"tool_name": "get_weather", "parameters": {"city": "Bern"}}]```      Command R and R+

The call ids that models write are ignored, as they repeat. `Action:` is text unless a list of objects follows, in a
code block or not. The list is text, too, if its first object is `directly-answer`, an action that Command R's template
asks for when no tool is needed, unless a tool of this name is offered. The closing bracket and the end marker may be
missing at the end of the output. Any other deviation, an unknown tool or arguments that are not a JSON object make the
tool call malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import accept_end, parse_call_list, parse_call_section
from onward_server.grammar.tool_calls import CallFrame

_BEGIN, _END = "<|START_ACTION|>", "<|END_ACTION|>"
_ACTION = "Action:"
_NO_CALL = ('"directly-answer"', '"directly_answer"')
"""The template uses both spellings."""


def parse(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls of one section."""
    yield from parse_call_section(state, _END)


def parse_action(state: ParserState, _trigger: str) -> Parsing[None]:
    """Parses the calls after `Action:`."""
    stream = state.stream
    yield from stream.take_space()
    if (yield from stream.accept("```")):
        yield from stream.accept("json")
    yield from stream.take_space()
    if (yield from stream.accept("[")) is None:
        raise NotAToolCall
    yield from stream.take_space()
    if stream.next_character != "{":
        raise NotAToolCall
    num_calls = state.tool_calls.num_complete
    try:
        yield from parse_call_list(state)
    except MalformedToolCall:
        is_first = state.tool_calls.num_complete == num_calls and not state.tool_calls.is_open
        if is_first and stream.recording.endswith(_NO_CALL):  # the last text that was taken is the tool's name
            raise NotAToolCall from None
        raise
    yield from accept_end(stream, "```")


COMMAND_R7B = ToolFormat(
    name="command_r7b",
    prompt_markers=(_BEGIN,),
    control_strings=(_BEGIN, _END),
    triggers=(_BEGIN,),
    parse=parse,
    frame=CallFrame(
        trigger=_BEGIN,
        section_begin=f"{_BEGIN}[\n    ",
        begin='{"tool_call_id": "0", "tool_name": "',
        arguments_begin='", "parameters": ',
        end="}",
        separator=",\n    ",
        section_end=f"\n]{_END}",
    ),
)
COMMAND_R = ToolFormat(
    name="command_r",
    prompt_markers=("Action:", '"tool_name"'),
    control_strings=(),
    triggers=(_ACTION,),
    parse=parse_action,
    frame=CallFrame(
        trigger=_ACTION,
        section_begin=f"{_ACTION}\n```json\n[\n    ",
        begin='{\n        "tool_name": "',
        arguments_begin='",\n        "parameters": ',
        end="\n    }",
        separator=",\n    ",
        section_end="\n]```",
    ),
)
