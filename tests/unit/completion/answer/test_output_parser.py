import functools
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS, choose_output_format
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.parsing.parser_state import MessagePart, ParsedDelta
from onward_server.completion.answer.parsing.tool_call_builder import random_call_id
from onward_server.completion.template_samples import TemplateSamples
from onward_server.domain import JsonObjectFormat, RegexFormat, ToolCallDelta
from testing.parsed_outputs import ParsedOutput, parsed, tool
from tests.output_cases import split_at

_CALL = '<tool_call>{"name": "noop", "arguments": {}}</tool_call>'


_offering_noop = functools.partial(OutputContext, tools=(tool("noop"),))


def _parser(context: OutputContext | None = None, *, tools: str = "hermes", reasoning: str = "think") -> OutputParser:
    return OutputParser(
        choose_output_format(TemplateSamples(), tools=tools, reasoning=reasoning), context or _offering_noop()
    )


# Generated outputs.

_FRAGMENTS = sorted(
    {
        *itertools.chain.from_iterable((*f.control_strings, *f.triggers, *f.start_triggers) for f in TOOL_FORMATS),
        *itertools.chain.from_iterable((f.begin, f.end, *f.dropped, *(f.text_frame or ())) for f in REASONING_FORMATS),
        *(
            "noop",
            '"name"',
            '{"name": "noop", ',
            '"arguments": ',
            '"parameters": ',
            "{}",
            '{"a": [1, "\\""]}',
            "}",
            "]",
        ),
        *("<function=noop>", "<parameter=a>", "</parameter>", "</function>", "call:noop{", "a:1", " to=functions.noop"),
        *(
            "```json\n",
            "\n```",
            "analysis",
            "final",
            "\n",
            " ",
            "\\",
            '"',
            ",",
            ":",
            "[",
            "]",
            "{",
            "}",
            ";",
            "<",
            "é",
            "🙂",
        ),
    }
)
_any_output = st.lists(
    st.one_of(st.sampled_from(_FRAGMENTS), st.sampled_from(_FRAGMENTS).map(lambda text: text[:-1]), st.text(max_size=4))
).map("".join)
_any_format = st.builds(
    OutputFormat,
    tools=st.one_of(st.none(), st.sampled_from(TOOL_FORMATS)),
    reasoning=st.one_of(st.none(), st.sampled_from(REASONING_FORMATS)),
)
_any_context = st.builds(
    OutputContext,
    tools=st.sampled_from([(), (tool("noop"), tool("get", '{"properties": {"a": {"type": "string"}}}'))]),
    prompt=st.sampled_from(["", "<think>\n", "<think></think>", "<|channel>thought\n<channel|>"]),
    continues=st.sampled_from([None, *MessagePart]),
    single_call=st.booleans(),
    response_format=st.sampled_from([None, JsonObjectFormat(), RegexFormat(pattern="a")]),
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(output=_any_output, output_format=_any_format, context=_any_context, ends=st.sets(st.integers(1, 60)))
def test_any_output_is_parsed_the_same_in_any_pieces(
    output: str, output_format: OutputFormat, context: OutputContext, ends: set[int]
) -> None:
    whole = parsed(OutputParser(output_format, context), [output])

    assert parsed(OutputParser(output_format, context), output) == whole
    assert parsed(OutputParser(output_format, context), split_at(output, ends)) == whole
    assert output.endswith(whole.invalid_tool_call)
    for name, arguments in whole.calls:
        assert name in {"noop", "get"}
        assert isinstance(json.loads(arguments), dict)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(output=_any_output, output_format=_any_format, context=_any_context)
def test_no_more_text_is_held_back_than_a_marker_may_need(
    output: str, output_format: OutputFormat, context: OutputContext
) -> None:
    """The unread text is bounded, so the cost of a piece does not grow with the length of the output."""
    longest = max(map(len, (*_FRAGMENTS, "function<\uff5ctool▁sep\uff5c>")))
    parser = OutputParser(output_format, context)

    for character in output:
        parser.feed(character)
        stream = parser._state.stream
        assert parser.is_finished or len(stream._text) - stream._position <= longest


# One behavior each.


def test_text_of_a_model_without_formats_passes_through_at_once() -> None:
    parser = OutputParser(OutputFormat(), OutputContext(tools=(tool("noop"),)))

    assert parser.feed("\n<think> <tool_") == ParsedDelta(text="\n<think> <tool_")
    assert parser.finish() == ParsedDelta()


def test_without_tools_what_looks_like_a_tool_call_is_text() -> None:
    assert parsed(_parser(OutputContext()), [_CALL]).text == _CALL


def test_text_is_held_back_only_while_it_may_become_a_marker() -> None:
    parser = _parser()

    assert parser.feed("a < b <tool") == ParsedDelta(text="a < b ")
    assert parser.feed("_") == ParsedDelta()
    assert parser.feed("box") == ParsedDelta(text="<tool_box")


def test_a_tool_call_streams_its_name_first_and_then_its_arguments() -> None:
    output_format = choose_output_format(TemplateSamples(), tools="hermes", reasoning="none")
    parser = OutputParser(output_format, OutputContext(tools=(tool("noop"),)), make_call_id=lambda: "abcdefgh1")

    pieces = ['<tool_call>\n{"name": "no', 'op", "arguments"', ': {"a": ', "[1, 2", "]}", "}\n</tool_call>"]
    deltas = [parser.feed(piece).tool_calls for piece in pieces]

    assert deltas == [
        (),
        (ToolCallDelta(index=0, id="abcdefgh1", name="noop"),),
        (ToolCallDelta(index=0, arguments='{"a": '),),
        (ToolCallDelta(index=0, arguments="[1, 2"),),
        (ToolCallDelta(index=0, arguments="]}"),),
        (),
    ]


def test_tool_call_ids_are_nine_alphanumerics_and_differ() -> None:
    ids = {random_call_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", call_id) for call_id in ids)


def test_a_malformed_tool_call_without_a_name_opens_the_tool_call_that_is_void() -> None:
    parser = _parser(reasoning="none")

    deltas = [*parser.feed(f"{_CALL}<tool_call>oops").tool_calls, *parser.finish().tool_calls]

    assert [(delta.index, delta.name) for delta in deltas] == [(0, "noop"), (1, "")]
    assert parser.invalid_tool_call == "<tool_call>oops"


def test_the_raw_text_of_a_malformed_tool_call_goes_to_the_end_of_the_output() -> None:
    choice = parsed(_parser(), ["Well: <tool_call>oops</tool_call>", " and ", _CALL])

    assert choice.text == "Well: "
    assert choice.invalid_tool_call == f"<tool_call>oops</tool_call> and {_CALL}"


def test_a_single_tool_call_finishes_the_output() -> None:
    parser = _parser(_offering_noop(single_call=True))

    first, later = parser.feed(_CALL), parser.feed(f" more {_CALL}")

    assert parser.is_finished
    assert not parser.is_invalid
    assert [delta.name for delta in first.tool_calls] == ["noop"]
    assert later == parser.finish() == ParsedDelta()


def test_white_space_is_dropped_around_tool_calls_and_kept_around_text() -> None:
    choice = parsed(_parser(), [f" Let me see.\n{_CALL}\n\n{_CALL}\n Done. \n"])

    assert choice.text == " Let me see.\n\n Done. \n"
    assert len(choice.calls) == 2


def test_output_of_white_space_is_passed_on_unchanged() -> None:
    assert parsed(_parser(), [" \n"]).text == " \n"


def test_the_parser_tells_whether_reasoning_comes_next() -> None:
    parser = _parser(_offering_noop(prompt="<|im_start|>assistant\n<think>\n"))

    states = [parser.is_reasoning]
    for piece in ("Hm", ".\n", "</think>", "\n\nYes"):
        parser.feed(piece)
        states.append(parser.is_reasoning)

    assert states == [True, True, True, False, False]


def test_newlines_are_held_back_until_more_reasoning_comes() -> None:
    parser = _parser()

    pieces = ["<think>\na\n", "\n", "b\n", "</think>"]

    assert [parser.feed(piece).reasoning for piece in pieces] == ["a", "", "\n\nb", ""]


def test_truncated_reasoning_stays_reasoning() -> None:
    assert parsed(_parser(), ["<think>a\n"]) == ParsedOutput(text="", reasoning="a\n", calls=(), invalid_tool_call="")


def test_continued_reasoning_keeps_its_first_newline() -> None:
    choice = parsed(_parser(_offering_noop(continues=MessagePart.REASONING)), ["\nmore</think>\n\nYes"])

    assert (choice.reasoning, choice.text) == ("\nmore", "Yes")


def test_a_marker_in_continued_text_is_text() -> None:
    assert parsed(_parser(_offering_noop(continues=MessagePart.CONTENT)), ["<think>"]).text == "<think>"


def test_a_tool_call_in_place_of_reasoning_is_a_tool_call() -> None:
    choice = parsed(_parser(_offering_noop(prompt="<think>\n")), [_CALL])

    assert choice.calls == (("noop", "{}"),)


def test_reasoning_that_begins_like_a_tool_call_stays_reasoning() -> None:
    parser = _parser(_offering_noop(prompt="<think>\n"), tools="qwen3_coder")

    choice = parsed(parser, ["<function=x> is what I need</think>Yes"])

    assert (choice.reasoning, choice.text) == ("<function=x> is what I need", "Yes")


def test_a_harmony_message_without_a_channel_is_text() -> None:
    assert parsed(_parser(tools="harmony", reasoning="harmony"), ["<|message|>Hi<|end|>"]).text == "Hi"


def test_granite_markers_around_the_text_are_dropped() -> None:
    choice = parsed(_parser(reasoning="granite"), ["<think>a</think><response>b</response>"])

    assert (choice.reasoning, choice.text) == ("a", "b")


def test_mistral_may_reason_in_the_middle_of_the_text() -> None:
    choice = parsed(_parser(reasoning="mistral"), ["a[THINK]b[/THINK]c"])

    assert (choice.reasoning, choice.text) == ("b", "ac")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('\n```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('```json\n{"a": "``', '{"a": "``'),
        (' {"a": 1}', ' {"a": 1}'),
        ("```python\n1", "```python\n1"),
    ],
)
def test_a_code_fence_around_json_is_dropped(output: str, text: str) -> None:
    assert parsed(_parser(_offering_noop(response_format=JsonObjectFormat())), output).text == text


@pytest.mark.parametrize(
    ("tools", "reasoning", "output", "text"),
    [
        ("hermes", "think", f'["{_CALL}"]', f'["{_CALL}"]'),
        ("hermes", "think", '<think>a</think>\n\n["</think><think>"]', '["</think><think>"]'),
        ("mistral", "mistral", '["[THINK]a[/THINK]"]', '["[THINK]a[/THINK]"]'),
        ("granite", "granite", '<think>a</think>["<response>"]', '["<response>"]'),
        ("harmony", "harmony", '<|channel|>final<|message|>["<|end|>"]', '["<|end|>"]'),
    ],
)
def test_a_marker_in_constrained_text_is_text(tools: str, reasoning: str, output: str, text: str) -> None:
    """Markers in the strings of JSON output were dropped, or parsed as tool calls."""
    parser = _parser(_offering_noop(response_format=JsonObjectFormat()), tools=tools, reasoning=reasoning)
    choice = parsed(parser, output)

    assert (choice.text, choice.calls, choice.invalid_tool_call) == (text, (), "")


def test_a_tool_call_in_place_of_constrained_text_is_a_tool_call() -> None:
    parser = _parser(_offering_noop(response_format=JsonObjectFormat()))

    assert parsed(parser, f"<think>a</think>\n\n{_CALL}").calls == (("noop", "{}"),)


@pytest.mark.parametrize("output", ["\n\na", "\n", " "])
def test_white_space_that_a_response_format_allows_is_kept(output: str) -> None:
    parser = _parser(_offering_noop(response_format=RegexFormat(pattern=r"[\n a]+")))

    assert parsed(parser, f"<think>b</think>{output}").text == output


def test_a_code_fence_is_kept_without_a_response_format() -> None:
    assert parsed(_parser(), ["```json\n1\n```"]).text == "```json\n1\n```"
