"""What is rewritten in a schema, and what is refused, and where."""

import json
from typing import Any

import pytest

from onward_server.grammar.json_schema import SchemaRefused, enforceable, enforceable_object
from onward_server.grammar.string_formats import PATTERNS
from onward_server.grammar.values import Json

_REFUSED: list[tuple[Any, str]] = [
    ("{", "not JSON: line 1, column 2"),
    ('{"const": NaN}', "NaN"),
    ("[" * 101 + "]" * 101, "nested more than 100 deep"),
    ("[" * 100_000, "nested more than 100 deep"),
    (3, "at #: a schema is an object"),
    ({"properties": {"a/b": {"not": {}}}}, "at #/properties/a~1b/not: not cannot be enforced"),
    ({"items": [{"if": {}}]}, "at #/items/0/if"),
    ({"uniqueItems": True}, "at #/uniqueItems"),
    ({"$ref": "#"}, "at #: it leads back to itself"),
    (
        {"items": {"$ref": "#/d"}, "d": {"allOf": [{"anyOf": [{"$ref": "#/e"}]}]}, "e": {"$ref": "#/d"}},
        "at #/d: it leads",
    ),
    ({"allOf": [{"contains": {}}]}, "at #/allOf/0/contains"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"propertyNames": {}}}}, "at #/\\$defs/a/propertyNames"),
    ({"$ref": "other.json"}, "at #/\\$ref: references lead to a place in the same schema"),
    ({"$ref": "#/$defs/missing"}, "'#/\\$defs/missing' leads nowhere"),
    ({"properties": {"a": {"$id": "x"}}}, "at #/properties/a/\\$id"),
    ({"type": "float"}, "at #/type: types are"),
    ({"type": []}, "at #/type"),
    ({"enum": []}, "at #/enum"),
    ({"required": "a"}, "at #/required"),
    ({"minLength": -1}, "at #/minLength"),
    ({"minLength": "3"}, "at #/minLength"),
    ({"maximum": True}, "at #/maximum: a number"),
    ({"pattern": 3}, "at #/pattern"),
    ({"pattern": "a(?=b)"}, "at #/pattern: in the pattern 'a\\(\\?=b\\)', at character 1"),
    ({"patternProperties": {"(": {}}}, "at #/patternProperties"),
    ({"format": "regex"}, "at #/format: the format 'regex' cannot be enforced; known are date,"),
    ({"properties": []}, "at #/properties: an object"),
    ({"const": 2**53 + 1}, "at #/const: the integer 9007199254740993 is beyond 2\\^53"),
    ({"enum": [{"a": ["\u0000"]}]}, "at #/enum: the string .* control character"),
    ({"minimum": 2**60}, "at #/minimum: bounds beyond 2\\^53"),
    ({"maximum": -(2**60)}, "at #/maximum: bounds beyond 2\\^53"),
    ({"exclusiveMinimum": 0, "maximum": 0.5}, "exclusiveMinimum 0 cannot be enforced"),
    ({"allOf": [{"minimum": -1.5}, {"exclusiveMaximum": -1}]}, "exclusiveMaximum -1 cannot be enforced"),
    ({"multipleOf": 0}, "at #/multipleOf"),
    ('{"multipleOf": 1e999}', "at #/multipleOf: the number is too large"),
    ({"allOf": [{"multipleOf": 97}, {"multipleOf": 89}]}, "multipleOf"),
    ({"minProperties": 3, "required": ["a"]}, "at #/minProperties"),
    ({"oneOf": [{"type": "integer"}, {"type": "null"}, {"minimum": 3}]}, "at #/oneOf: .* both 0 and 2"),
    ({"oneOf": [{"const": i} for i in range(129)]}, "at #/oneOf: at most 128"),
    ({"items": [{}], "prefixItems": [{}]}, "at #/items"),
    ({"patternProperties": {"^/": {}, "^\\/": {}}}, "is there twice"),
    ({"properties": {f"p{i}": {} for i in range(1001)}}, "at #/properties: 1001 properties"),
    ({"pattern": "a" * 2001}, "at #/pattern: patterns have at most"),
    ({"anyOf": [{"pattern": f"{i}" * 1999} for i in range(9)]}, "at #/anyOf/8/pattern: patterns have at most"),
]
_REWRITTEN: list[tuple[Any, Json]] = [
    (True, True),
    ({"title": "a", "default": 1, "x-guidance": {"lenient": True}, "uniqueItems": False}, {}),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "type": "null"}, {"type": "null"}),
    ({"items": [{}], "additionalItems": False}, {"prefixItems": [{}], "items": False}),
    ({"items": [{}]}, {"prefixItems": [{}]}),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 1}, {"const": 2}]}),
    (
        {"anyOf": [{"minimum": 3}], "oneOf": [{"type": "null"}, {"type": "integer"}]},
        {"allOf": [{"anyOf": [{"minimum": 3}]}, {"anyOf": [{"type": "null"}, {"type": "integer"}]}]},
    ),
    ({"minimum": -(2**63), "maximum": 2**63 - 1}, {"minimum": -(2**53), "maximum": 2**53}),
    ({"minLength": 2.0}, {"minLength": 2}),
    ({"type": "integer", "format": "int32"}, {"type": "integer"}),
    ({"type": "string", "format": "uuid"}, {"type": "string", "pattern": PATTERNS["uuid"]}),
]
_TOO_MUCH: list[tuple[Any, str]] = [
    ({"allOf": [{"anyOf": [{"minimum": i} for i in range(8)]} for _ in range(3)]}, "at #: .* more than 500 ways"),
    (
        {"properties": {"a": {"$ref": "#/w"}}, "w": {"allOf": [{"$ref": "#/v"}] * 3}, "v": {"anyOf": [{}] * 8}},
        "at #/w: .* more than 500 ways",
    ),
    (
        {"allOf": [{"properties": {"a": {"anyOf": [{"maximum": i} for i in range(8)]}}} for _ in range(3)]},
        "more than 500 ways",
    ),
    ({"allOf": [{"pattern": f"a{i}"} for i in range(6)]}, "more than 5 patterns"),
    ({"allOf": [{"properties": {"a": {"pattern": f"a{i}"}}} for i in range(6)]}, "more than 5 patterns"),
    (
        {"$ref": "#/d/0", "d": {str(i): {"properties": {"a": {"$ref": f"#/d/{i + 1}"}}} for i in range(1500)}},
        "leads nowhere",
    ),
    (
        {
            "$ref": "#/d/0",
            "d": {str(i): {"properties": {"a": {"$ref": f"#/d/{(i + 1) % 1500}"}}} for i in range(1500)},
        },
        "more than 2000 deep together",
    ),
]


def root_of(schema: object) -> Json:
    definitions = enforceable(json.dumps(schema))["$defs"]
    assert isinstance(definitions, dict)
    return definitions["0"]


@pytest.mark.parametrize(
    ("schema", "message"),
    _REFUSED,
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_enforced_is_refused_by_its_place(schema: object, message: str) -> None:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    with pytest.raises(SchemaRefused, match=message):
        enforceable(text)


@pytest.mark.parametrize(
    ("schema", "expected"),
    _REWRITTEN,
    ids=lambda value: str(value)[:60],
)
def test_a_schema_is_rewritten_to_what_can_be_enforced(schema: object, expected: Json) -> None:
    assert root_of(schema) == expected


def test_properties_keep_their_order() -> None:
    rewritten = root_of({"properties": {"z": {}, "a": {}, "m": {}}, "required": ["m", "z"]})
    assert json.dumps(rewritten) == '{"properties": {"z": {}, "a": {}, "m": {}}, "required": ["m", "z"]}'


def test_references_lead_to_definitions_of_our_own_wherever_they_pointed() -> None:
    schema = {"items": {"$ref": "#/x/a~1b%25"}, "x": {"a/b%": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}
    assert enforceable(json.dumps(schema)) == {
        "$ref": "#/$defs/0",
        "$defs": {
            "0": {"items": {"$ref": "#/$defs/1"}},
            "1": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/0"}]},
        },
    }


def test_arguments_are_objects_whatever_their_schema_says() -> None:
    assert enforceable_object("{}")["allOf"] == [{"type": "object"}, {"$ref": "#/$defs/0"}]


@pytest.mark.parametrize(
    ("schema", "message"),
    _TOO_MUCH,
    ids=["allOf", "references", "properties", "patterns", "patterns of a property", "open chain", "chain"],
)
def test_what_a_compiler_would_take_too_long_or_too_deep_for_is_refused(schema: object, message: str) -> None:
    with pytest.raises(SchemaRefused, match=message):
        enforceable(json.dumps(schema))


def test_what_refers_to_itself_is_no_reason_to_refuse() -> None:
    node: Json = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert root_of(node)
