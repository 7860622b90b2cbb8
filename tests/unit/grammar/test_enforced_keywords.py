"""Keywords that llguidance does not support but that are enforced: exactly the valid values are allowed."""

import json
from typing import Any
from zlib import crc32

import pytest
from jsonschema import Draft202012Validator

from onward_server.domain import JsonSchemaFormat
from testing.sampling import RandomSampler

_PAYMENT = {
    "type": "object",
    "properties": {"kind": {"enum": ["card", "cash"]}, "number": {"type": "integer"}},
    "required": ["kind"],
    "additionalProperties": False,
    "if": {"properties": {"kind": {"const": "card"}}},
    "then": {"required": ["number"]},
    "else": {"properties": {"number": False}},
}
_CASES: list[tuple[dict[str, Any], list[Any]]] = [
    (_PAYMENT, [{"kind": "card", "number": 1}, {"kind": "cash"}, {"kind": "card"}, {"kind": "cash", "number": 1}]),
    ({"if": {"type": "string"}, "then": {"maxLength": 1}}, ["a", "ab", 5, None]),
    ({"if": {"minimum": 5}, "then": {"type": "integer"}}, [4.5, 6, 6.5, "a"]),
    ({"if": True, "else": False}, [1]),
    ({"not": {"type": ["null", "boolean"]}}, [None, True, 1, "a", [], {}]),
    ({"not": {"const": "ab"}}, ["", "a", "ab", "abc", "b", 'a"', 1]),
    ({"type": "string", "not": {"enum": ["yes", "é😀", ""]}}, ["yes", "ye", "é", "é😀", "", "x"]),
    ({"not": {"const": True}}, [True, False, 1, "true"]),
    ({"not": {"minLength": 2, "maxLength": 3}}, ["a", "ab", "abc", "abcd", 1]),
    ({"type": "array", "not": {"minItems": 1, "maxItems": 2}}, [[], [1], [1, 2], [1, 2, 3]]),
    ({"type": "object", "not": {"required": ["a"]}}, [{}, {"a": 1}, {"b": 1}]),
    ({"not": {"required": ["a"]}}, [{}, {"a": 1}, 1, "a"]),
    ({"type": "object", "not": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}}, [{"c": 1}, {"a": 1}, {"b": 1}]),
    ({"type": "object", "not": {"allOf": [{"required": ["a"]}, {"required": ["b"]}]}}, [{"a": 1}, {"a": 1, "b": 1}]),
    (
        {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}},
        [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}],
    ),
    (
        {"properties": {"a": {}, "b": {}}, "dependencies": {"a": {"properties": {"b": {"type": "null"}}}}},
        [{"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": 1}, {"b": 1}, 5],
    ),
    (
        {"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}],
    ),
    (
        {
            "type": "object",
            "oneOf": [
                {"properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
                {"properties": {"b": {}}, "required": ["b"], "additionalProperties": False},
            ],
        },
        [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}],
    ),
    ({"oneOf": [{"type": "number"}, {"minimum": 5, "type": "number"}]}, [4, 5, "a"]),
    ({"type": "string", "oneOf": [{"type": "integer"}, {"minLength": 2}]}, ["a", "ab", 5]),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "maxProperties": 2}, [{"a": 1}, {"c": 1}, {}]),
    ({"type": "object", "propertyNames": {"pattern": "^x"}}, [{"xa": 1}, {"a": 1}, {}]),
    ({"type": "object", "propertyNames": {"maxLength": 2}}, [{"ab": 1}, {"abc": 1}]),
    ({"type": "object", "properties": {"a": {}}, "minProperties": 1}, [{}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}]),
    (
        {"type": ["object", "null"], "properties": {"a": {}, "b": {}}, "required": ["b"], "minProperties": 2},
        [None, {"b": 1}, {"a": 1, "b": 1}, {"b": 1, "c": 1}],
    ),
    ({"properties": {"a": {}}, "additionalProperties": False, "maxProperties": 3}, [{"a": 1}, {}, {"b": 1}]),
    ({"type": "array", "contains": True}, [[], [1]]),
    ({"type": "array", "contains": {}, "minContains": 2, "maxContains": 3}, [[1], [1, 2], [1, 2, 3, 4]]),
    ({"type": "array", "uniqueItems": True, "maxItems": 1}, [[], [1], [1, 1]]),
    ({"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}, {"b": 1}]),
    ({"type": "array", "prefixItems": [{}], "unevaluatedItems": False}, [[1], [1, 2]]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 5}, [0, 0.0, 0.1, 5, -1]),
]


@pytest.fixture(scope="module")
def sampler() -> RandomSampler:
    return RandomSampler.small()


def is_valid(schema: dict[str, Any], value: object) -> bool:
    validator = Draft202012Validator({**schema, "dependentSchemas": schema.get("dependencies", {})})
    return validator.is_valid(value)  # pyright: ignore[reportUnknownMemberType, reportArgumentType]


@pytest.mark.parametrize(("schema", "values"), _CASES, ids=lambda case: json.dumps(case)[:60])
def test_exactly_the_values_that_match_are_allowed(
    sampler: RandomSampler, schema: dict[str, Any], values: list[Any]
) -> None:
    grammar = sampler.compile(JsonSchemaFormat(schema=json.dumps(schema)))
    allowed = [value for value in values if sampler.allows(grammar, json.dumps(value, ensure_ascii=False))]
    assert allowed == [value for value in values if is_valid(schema, value)]


@pytest.mark.parametrize("schema", [case[0] for case in _CASES], ids=lambda schema: json.dumps(schema)[:60])
def test_sampled_outputs_match(sampler: RandomSampler, schema: dict[str, Any]) -> None:
    grammar = sampler.compile(JsonSchemaFormat(schema=json.dumps(schema)))
    seed = crc32(json.dumps(schema).encode())
    outputs = [sampler.sample(grammar, seed=seed + index, max_tokens=1500) for index in range(4)]
    finished = [output.text for output in outputs if not output.is_truncated]
    assert finished
    assert [text for text in finished if not is_valid(schema, json.loads(text))] == []
