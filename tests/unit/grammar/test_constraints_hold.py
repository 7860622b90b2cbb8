"""Answers of a model that knows nothing keep to every kind of constraint; what cannot be enforced is refused."""

import json

import pytest

from service.domain import ChoiceFormat, GrammarFormat, JsonSchemaFormat, RegexFormat, ResponseFormat
from service.errors import InvalidReason, InvalidRequest
from tests.constraint_cases import Case, own_cases
from tests.drawing import RandomWriter

CASES = own_cases()
NUM_DRAWS = 4


@pytest.fixture(scope="module")
def writer() -> RandomWriter:
    return RandomWriter.small()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind} {case.name}"[:60] for case in CASES])
def test_what_is_drawn_under_a_constraint_keeps_to_it(writer: RandomWriter, case: Case) -> None:
    grammar = case.compile(writer.compiler)
    drawn = [writer.draw(grammar, max_tokens=400) for _ in range(NUM_DRAWS)]
    whole = [answer.text for answer in drawn if not answer.is_cut]
    assert whole
    assert [complaint for text in whole if (complaint := case.complaint(text))] == []


@pytest.mark.parametrize(
    ("response_format", "kept", "broken"),
    [
        (RegexFormat(pattern="[a-c]{2}"), "ab", "abc"),
        (ChoiceFormat(choices=("a", "ab")), "ab", "b"),
        (GrammarFormat(definition='start: "x" | "y" start'), "yyx", "xy"),
        (JsonSchemaFormat(schema='{"type": "integer", "maximum": 12}'), "12", "13"),
        (JsonSchemaFormat(schema='{"enum": ["red", 3]}'), '"red"', '"re"'),
    ],
)
def test_a_constraint_lets_through_what_keeps_to_it_and_nothing_else(
    writer: RandomWriter, response_format: ResponseFormat, kept: str, broken: str
) -> None:
    grammar = writer.compiler.compile(response_format)
    assert writer.allows(grammar, kept)
    assert not writer.allows(grammar, broken)


def test_properties_come_in_the_order_of_the_schema(writer: RandomWriter) -> None:
    schema = {
        "type": "object",
        "properties": {"z": {"type": "null"}, "a": {"type": "null"}, "m": {"type": "null"}},
        "required": ["z", "a", "m"],
        "additionalProperties": False,
    }
    text = writer.draw(writer.compiler.compile(JsonSchemaFormat(schema=json.dumps(schema)))).text
    assert list(json.loads(text)) == ["z", "a", "m"]


def test_control_tokens_are_never_part_of_a_string(writer: RandomWriter) -> None:
    grammar = writer.compiler.compile(JsonSchemaFormat(schema='{"type": "string", "minLength": 200}'))
    assert "<|end|>" not in writer.draw(grammar).text
    assert not writer.allows(writer.compiler.compile(RegexFormat(pattern="[a-z<>|]{7}")), "<|end|>")


@pytest.mark.parametrize(
    ("response_format", "field"),
    [
        (RegexFormat(pattern="(("), "response_format.regex.pattern"),
        (RegexFormat(pattern="(?=a)b"), "response_format.regex.pattern"),
        (GrammarFormat(definition="start: nothing"), "response_format.grammar.definition"),
        (JsonSchemaFormat(schema=""), "response_format.json_schema.schema"),
        (JsonSchemaFormat(schema="{"), "response_format.json_schema.schema"),
        (JsonSchemaFormat(schema='{"type": "nonsense"}'), "response_format.json_schema.schema"),
        (JsonSchemaFormat(schema='{"$ref": "https://elsewhere"}'), "response_format.json_schema.schema"),
        (JsonSchemaFormat(schema='{"not": {"type": "string"}}'), "response_format.json_schema.schema"),
        (JsonSchemaFormat(schema='{"type": "array", "uniqueItems": true}'), "response_format.json_schema.schema"),
        (
            JsonSchemaFormat(schema='{"type": "array", "contains": {"type": "null"}}'),
            "response_format.json_schema.schema",
        ),
    ],
    ids=repr,
)
def test_what_cannot_be_enforced_is_refused_by_its_field_and_in_our_own_words(
    writer: RandomWriter, response_format: ResponseFormat, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        writer.compiler.compile(response_format)
    assert refusal.value.reason is InvalidReason.INVALID_RESPONSE_FORMAT
    assert [violation.field for violation in refusal.value.violations] == [field]
    assert "llguidance" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def deep(depth: int) -> str:
    return '{"type":"object","properties":{"a":' * depth + '{"type":"integer"}' + '},"required":["a"]}' * depth


@pytest.mark.parametrize(
    "response_format",
    [
        JsonSchemaFormat(schema=deep(20_000)),
        JsonSchemaFormat(schema=json.dumps({"enum": [f"value{number}" * 5 for number in range(50_000)]})),
        JsonSchemaFormat(schema='{"type": "array", "items": {"type": "integer"}, "minItems": 1000000000}'),
        RegexFormat(pattern="|".join(f"w{number}[0-9]{{1,9}}" for number in range(20_000))),
        RegexFormat(pattern="(x+x+)+y"),
        GrammarFormat(definition="start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
        GrammarFormat(definition='start: start "a" | "a"'),
    ],
    ids=["deep", "enum", "items", "alternatives", "ambiguous", "parentheses", "left recursion"],
)
def test_a_hostile_constraint_is_refused_or_followed(writer: RandomWriter, response_format: ResponseFormat) -> None:
    try:
        grammar = writer.compiler.compile(response_format)
    except InvalidRequest as refusal:
        assert refusal.reason is InvalidReason.INVALID_RESPONSE_FORMAT  # noqa: PT017  either outcome is right
        return
    assert writer.draw(grammar, max_tokens=10).num_tokens
