"""Reading JSON text: as strict as the standard, and parsed once where the domain carries it."""

import json

import pytest

from onward_server.domain import FunctionTool, JsonSchemaFormat, ToolCall
from onward_server.json_value import NotJson, parse


def test_a_value_is_what_the_standard_parser_reads() -> None:
    text = r'{"a": [1, 2.5, -0.0, true, null, "\u00e9"], "b": {}}'
    assert parse(text) == json.loads(text)


@pytest.mark.parametrize("text", ["1.7976931348623157e308", "-1e308", "1e-400", "9" * 308, '"1e400"', "0e999"])
def test_a_number_that_can_be_written_again_is_read(text: str) -> None:
    assert json.loads(json.dumps(parse(text), allow_nan=False)) == json.loads(text)


def test_100_levels_are_read() -> None:
    parse("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column 1: expecting value"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6: expecting ':' delimiter"),
        ("[1] 2", "line 1, column 5: extra data"),
        ("[NaN]", "line 1, column 2: NaN is not JSON"),
        ("-Infinity", "line 1, column 1: -Infinity is not JSON"),
        ('{"a": "1e400",\n "b": 1e400}', "line 2, column 7: 1e400 is too large; numbers are at most 1.79"),
        ("[1, -1E+0999]", r"line 1, column 5: -1E\+0999 is too large"),
        (f"[{'9' * 250}.5e99]", "line 1, column 2: 9{40} is too large"),
        ("9" * 309 + ".0", "line 1, column 1: 9{40} is too large"),
        ("[" + "9" * 5000 + "]", "line 1, column 2: 9{40} has 5000 digits, which is too many"),
        ("[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        ("[" * 100_000, "nested more than 100 levels deep"),
    ],
    ids=[
        "empty",
        "a comma",
        "two values",
        "NaN",
        "infinity",
        "an exponent",
        "a negative number",
        "digits and an exponent",
        "digits of a float",
        "digits of an integer",
        "101 levels",
        "a recursion",
    ],
)
def test_a_text_that_is_not_json_is_rejected_with_the_place_or_the_reason(text: str, problem: str) -> None:
    with pytest.raises(NotJson, match=problem):
        parse(text)


def test_the_domain_parses_a_text_once() -> None:
    call = ToolCall(id="a", name="f", arguments='{"x": [1]}')
    tool = FunctionTool(name="f", parameters='{"type": "object"}')
    response_format = JsonSchemaFormat(schema='{"type": "array"}')

    assert (call.parsed_arguments, tool.parsed_parameters) == ({"x": [1]}, {"type": "object"})
    assert response_format.parsed_schema == {"type": "array"}
    assert call.parsed_arguments is call.parsed_arguments
    assert tool.parsed_parameters is tool.parsed_parameters
    assert response_format.parsed_schema is response_format.parsed_schema


def test_a_tool_without_parameters_has_no_schema() -> None:
    assert FunctionTool(name="f").parsed_parameters is None
