"""Every registered tool format reads the calls that its frame describes, in each kind of output and in any pieces.

The outputs are written from the frame, so this file tests a new format without a change.
"""

import json
import random
from collections.abc import Iterable

import pytest

from onward_server.completion.answer.call_writer import written_calls
from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.answer.tool_formats.harmony import HARMONY
from onward_server.json_value import JsonObject
from testing.parsed_outputs import ParsedOutput, parsed, tool
from tests.output_cases import split_at


def _of_each(formats: Iterable[ToolFormat]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("format_", tuple(formats), ids=lambda format_: format_.name)


TOOLS = (
    tool(
        "get_weather",
        json.dumps(
            {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "limit": {"type": "number"},
                    "loud": {"type": "boolean"},
                    "tags": {"type": "array"},
                    "near": {"type": "object"},
                    "note": {"type": ["string", "null"]},
                },
            }
        ),
    ),
    tool("noop"),
)
PLAIN: JsonObject = {"city": "Bern", "days": 2}
UNICODE: JsonObject = {"city": "Zürich 🌍 東京 'a' (b) [c] {d}, e: f=g; h\\i", "note": "naïve… “quoted”"}
NESTED: JsonObject = {
    "limit": -0.5,
    "loud": True,
    "tags": ["a", 1, None, ["b"], {"c": [False]}],
    "near": {"lat": 46.9, "names": ["Bern", "Berne"], "more": {}},
    "note": None,
}
LINES: JsonObject = {"city": "first\nsecond\n\n  third", "days": 0}
CALLS: dict[str, list[tuple[str, JsonObject]]] = {
    "unicode": [("get_weather", UNICODE)],
    "nested arguments": [("get_weather", NESTED)],
    "lines": [("get_weather", LINES)],
    "no arguments": [("noop", {})],
    "two calls": [("get_weather", PLAIN), ("noop", {})],
    "three calls": [("noop", {}), ("get_weather", UNICODE), ("get_weather", LINES)],
}
every_format = _of_each(TOOL_FORMATS)
every_format_with_reasoning = _of_each(
    format_ for format_ in TOOL_FORMATS if not format_.frames_output or format_ is HARMONY
)
every_format_without_messages = _of_each(format_ for format_ in TOOL_FORMATS if not format_.frames_output)
every_format_with_text_before = _of_each(
    format_
    for format_ in TOOL_FORMATS
    if not format_.frames_output and not any(map(format_.frame.trigger.startswith, format_.start_triggers))
)
every_calls = pytest.mark.parametrize("kind", CALLS)


def _parser(format_: ToolFormat, reasoning: ReasoningFormat | None) -> OutputParser:
    return OutputParser(OutputFormat(tools=format_, reasoning=reasoning), OutputContext(tools=TOOLS))


def _parsed(format_: ToolFormat, output: str, reasoning: ReasoningFormat | None = None) -> ParsedOutput:
    """Parses an output whole, by character and in random pieces, and checks that the results are equal."""
    chance = random.Random(f"{format_.name} {output}")
    splits = ([output], list(output), split_at(output, chance.choices(range(1, len(output)), k=12)))
    results = [parsed(_parser(format_, reasoning), pieces) for pieces in splits]
    assert all(result == results[0] for result in results), output
    return results[0]


def _calls(output: ParsedOutput) -> list[tuple[str, object]]:
    return [(name, json.loads(arguments)) for name, arguments in output.calls]


def _written(format_: ToolFormat, kind: str) -> tuple[str, list[tuple[str, JsonObject]]]:
    """The output of calls of a kind, and those that it holds: one, if the format allows no more."""
    calls = CALLS[kind] if format_.frame.separator is not None else CALLS[kind][:1]
    return written_calls(format_.frame, calls), calls


@every_calls
@every_format
def test_calls_are_read_as_the_frame_writes_them(format_: ToolFormat, kind: str) -> None:
    output, calls = _written(format_, kind)

    result = _parsed(format_, output)

    assert output.startswith(format_.frame.trigger)
    assert (result.text, result.reasoning, result.invalid_tool_call) == ("", "", "")
    assert _calls(result) == calls


@every_calls
@every_format_with_reasoning
def test_calls_are_read_after_reasoning(format_: ToolFormat, kind: str) -> None:
    output, calls = _written(format_, kind)
    if format_ is HARMONY:
        thoughts, reasoning = "<|channel|>analysis<|message|>Hm. 🌍<|end|><|start|>assistant", None
    else:
        thoughts, reasoning = "<think>\nHm. 🌍\n</think>\n\n", THINK

    result = _parsed(format_, thoughts + output, reasoning)

    assert (result.text, result.reasoning, result.invalid_tool_call) == ("", "Hm. 🌍", "")
    assert _calls(result) == calls


@every_calls
@every_format_with_text_before
def test_text_before_calls_stays_as_written(format_: ToolFormat, kind: str) -> None:
    output, calls = _written(format_, kind)

    result = _parsed(format_, f"Let me see: é 🌍.\n\n{output}")

    assert (result.text.rstrip("\n"), result.invalid_tool_call) == ("Let me see: é 🌍.", "")
    assert _calls(result) == calls


@every_calls
@every_format
def test_text_after_calls_stays_as_written(format_: ToolFormat, kind: str) -> None:
    output, calls = _written(format_, kind)
    begin = format_.frame.next_message + format_.frame.output_begin if format_.frames_output else "\n"

    result = _parsed(format_, f"{output}{begin}Done: é 🌍.")

    assert (result.text.strip(), result.invalid_tool_call) == ("Done: é 🌍.", "")
    assert _calls(result) == calls


@every_format_with_text_before
def test_text_between_calls_stays_as_written(format_: ToolFormat) -> None:
    first, second = (written_calls(format_.frame, [("get_weather", arguments)]) for arguments in (PLAIN, NESTED))

    result = _parsed(format_, f"{first}\nAnd the other one:\n{second}")

    assert (result.text.strip(), result.invalid_tool_call) == ("And the other one:", "")
    assert _calls(result) == [("get_weather", PLAIN), ("get_weather", NESTED)]


@every_format_without_messages
def test_white_space_around_calls_is_not_text(format_: ToolFormat) -> None:
    output = written_calls(format_.frame, [("get_weather", PLAIN)])

    result = _parsed(format_, f" \n{output}\n ")

    assert (result.text.strip(), result.invalid_tool_call) == ("", "")
    assert _calls(result) == [("get_weather", PLAIN)]


@every_format
def test_calls_of_an_output_that_ends_anywhere_are_whole_or_malformed(format_: ToolFormat) -> None:
    """Complete calls stay as written. A truncated call after them is raw text, and half a marker is text."""
    output, calls = _written(format_, "three calls")
    frame = format_.frame
    starts = {
        f"{before}{frame.begin}{name}{frame.arguments_begin}".strip()
        for before in (frame.section_begin, frame.separator or "", "")
        for name, _ in calls
    }

    for end in range(1, len(output)):
        result = parsed(_parser(format_, None), [output[:end]], is_truncated=True)
        read = _calls(result)
        rest = result.text.strip()
        assert read == calls[: len(read)]
        assert output[:end].endswith(result.invalid_tool_call)
        assert any(start.startswith(rest) for start in (*starts, frame.section_end))


@every_format
def test_an_output_that_ends_inside_a_call_holds_the_call_or_its_raw_text(format_: ToolFormat) -> None:
    output = written_calls(format_.frame, [("get_weather", {"city": "Bern"})])

    for end in range(output.index("Bern"), len(output)):
        result = parsed(_parser(format_, None), [output[:end]], is_truncated=True)
        is_whole = _calls(result) == [("get_weather", {"city": "Bern"})]
        assert result.text == ""
        assert is_whole or (result.calls == () and result.invalid_tool_call == output[:end])


@every_format
@pytest.mark.parametrize("name", ["get_weather_now", "unknown"])
def test_a_call_of_a_tool_that_is_not_offered_is_text_or_malformed(format_: ToolFormat, name: str) -> None:
    output = written_calls(format_.frame, [(name, PLAIN)])

    result = _parsed(format_, output)

    assert result.calls == ()
    assert output in (result.invalid_tool_call, result.text)
