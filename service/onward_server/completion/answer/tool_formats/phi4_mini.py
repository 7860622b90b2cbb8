"""The tool formats of Phi-4-mini and Firefunction 2, which differ by what the chat template asks for.

    phi4_mini         functools[{"name": "get_weather", "arguments": {"city": "Bern"}}]
    phi4_mini_tokens  <|tool_call|>[{"name": "get_weather", "arguments": {"city": "Bern"}}]<|/tool_call|>

The parser is the same for both and accepts each form, and a single object instead of the list between the tokens.
`functools[` is text unless an object follows. Any other deviation, an unknown tool or arguments that are not a JSON
object make the tool call malformed; the calls before it remain.
"""

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.parsing.exceptions import NotAToolCall
from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.completion.answer.tool_formats.json_call import list_frame, parse_call_list, parse_call_section
from onward_server.grammar.tool_calls import CallFrame

_WORD, _BEGIN, _END = "functools[", "<|tool_call|>", "<|/tool_call|>"


def parse(state: ParserState, trigger: str) -> Parsing[None]:
    """Parses the calls after a trigger."""
    if trigger == _BEGIN:
        yield from parse_call_section(state, _END)
        return
    yield from state.stream.take_space()
    if state.stream.next_character != "{":
        raise NotAToolCall
    yield from parse_call_list(state)


PHI4_MINI = ToolFormat(
    name="phi4_mini",
    prompt_markers=(_WORD,),
    control_strings=(_BEGIN, _END),
    triggers=(_WORD, _BEGIN),
    parse=parse,
    frame=CallFrame(
        trigger=_WORD,
        section_begin=_WORD,
        begin='{"name": "',
        arguments_begin='", "arguments": ',
        end="}",
        separator=", ",
        section_end="]",
    ),
)
PHI4_MINI_TOKENS = ToolFormat(
    name="phi4_mini_tokens",
    prompt_markers=("<|tool|>", "<|/tool|>"),
    control_strings=(_BEGIN, _END),
    triggers=(_WORD, _BEGIN),
    parse=parse,
    frame=list_frame(_BEGIN, _END),
)
