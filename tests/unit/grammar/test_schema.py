"""How schemas are written for llguidance, and which are rejected with which place in the error."""

import json
import re
from typing import Any

import pytest

from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.schema.string_formats import PATTERNS
from onward_server.grammar.schema.tree import SchemaRejected
from onward_server.grammar.schema.writer import written
from onward_server.json_value import Json, JsonObject, NotJson, parse

_APART: Json = {"type": "object", "properties": {"a": True}, "allOf": [{"additionalProperties": False}]}
_NULL_DEFINITION: Json = {"$ref": "#/$defs/0", "$defs": {"0": {"type": "null"}}}
_REJECTED: list[tuple[Any, str]] = [
    (3, "at #: 3 is not a schema; a schema is an object or a boolean"),
    ({"items": [{"not": {"$ref": "#"}}]}, "at #/items/0/not: the negation of this schema"),
    ({"uniqueItems": True}, "at #/uniqueItems"),
    ({"$ref": "#"}, "at #: the schema refers to itself"),
    (
        {"items": {"$ref": "#/d"}, "d": {"allOf": [{"anyOf": [{"$ref": "#/e"}]}]}, "e": {"$ref": "#/d"}},
        "at #/[de]: the schema refers to itself",
    ),
    ({"allOf": [{"contains": {"type": "null"}}]}, "at #/allOf/0/contains"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"propertyNames": {"not": {}}}}}, "at #/\\$defs/a/propertyNames"),
    ({"$ref": "other.json"}, "at #/\\$ref: the reference 'other.json' matches no schema"),
    ({"$ref": "#/$defs/missing"}, "'#/\\$defs/missing' matches no schema"),
    ({"$ref": "http://["}, "matches no schema"),
    ({"$dynamicRef": "#a"}, "at #/\\$dynamicRef"),
    (
        {"items": {"$ref": "b", "$id": "http://x/a"}, "$defs": {"b": {"$id": "http://x/b"}}},
        "at #/items/\\$ref: cannot be combined with \\$id",
    ),
    ({"$ref": "#x", "$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "'#x' matches no schema"),
    ({"$ref": "#x", "const": {"$anchor": "x"}}, "'#x' matches no schema"),
    ({"type": "float"}, "at #/type: 'float' is not a type; types are"),
    ({"type": []}, "at #/type"),
    ({"enum": []}, "at #/enum"),
    ({"required": "a"}, "at #/required: 'a' is not a list of names"),
    ({"minLength": -1}, "at #/minLength: -1 is not a whole number of at least 0"),
    ({"minLength": "3"}, "at #/minLength"),
    ({"maximum": True}, "at #/maximum: True is not a number"),
    ({"maximum": None}, "at #/maximum: None is not a number"),
    ({"pattern": 3}, "at #/pattern"),
    ({"pattern": "a(?=b)"}, "at #/pattern: in the pattern 'a\\(\\?=b\\)', at character 1"),
    ({"patternProperties": {"(": {}}}, "at #/patternProperties"),
    ({"format": "regex"}, "at #/format: the format 'regex' cannot be enforced; supported formats are date,"),
    ({"properties": []}, "at #/properties: \\[\\] is not an object"),
    ({"const": 2**53 + 1}, "at #/const: the integer 9007199254740993 is beyond 2\\^53"),
    ({"enum": [{"a": ["\u0000"]}]}, "at #/enum: the string .* control character"),
    ({"minimum": 2**60}, "at #: the bound 1152921504606846976 is beyond 2\\^53"),
    ({"maximum": -(2**60)}, "at #: the bound -1152921504606846976 is beyond 2\\^53"),
    ({"exclusiveMinimum": 0, "maximum": 0.5}, "at #: exclusiveMinimum 0 cannot be enforced"),
    ({"allOf": [{"minimum": -1.5}, {"exclusiveMaximum": -1}]}, "at #/allOf/1: exclusiveMaximum -1 cannot be enforced"),
    ({"multipleOf": 0}, "at #/multipleOf: 0 is not greater than 0"),
    ({"multipleOf": float("inf")}, "at #/multipleOf: inf is not a number"),
    ({"allOf": [{"multipleOf": 97}, {"multipleOf": 89}]}, "at #/allOf/1: multipleOf"),
    ({"minProperties": 3, "required": ["a"]}, "at #/minProperties: 3 cannot be enforced with 1 required"),
    (
        {"oneOf": [{"type": "integer"}, {"type": "null"}, {"multipleOf": 3}]},
        "at #/oneOf: .* schema 0 and schema 2",
    ),
    ({"items": [{}], "prefixItems": [{}]}, "at #/items"),
    ({"patternProperties": {"^/": {}, "^\\/": {}}}, "another pattern means the same"),
    ({"pattern": "a" * 10_001}, "at #/pattern: the pattern has 10001 characters"),
    (
        {"anyOf": [{"pattern": "a" * 9999}] * 11},
        "at #/anyOf/10/pattern: the patterns up to this one have 109989",
    ),
    ({"allOf": [{"pattern": f"a{i}"} for i in range(6)]}, "more than 5 patterns"),
    ({"allOf": [{"properties": {"a": {"pattern": f"a{i}"}}} for i in range(6)]}, "more than 5 patterns"),
    ({"properties": {f"p{i}": {} for i in range(3001)}}, "at #/properties: has 3001 properties"),
    ({"properties": {"a": {"unevaluatedProperties": False, "allOf": [{}]}}}, "at #/properties/a/unevaluatedProperties"),
    ({"$ref": "#/d/0", "d": {str(i): {"items": {"$ref": f"#/d/{i + 1}"}} for i in range(1500)}}, "matches no schema"),
]
_WRITTEN: list[tuple[Any, Json]] = [
    (True, {"allOf": [True]}),
    ({"title": "a", "default": 1, "x-guidance": {"lenient": True}}, {"allOf": [True]}),
    ({"type": "array", "uniqueItems": False}, {"type": "array"}),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "type": "null"}, {"type": "null"}),
    (
        {"type": "array", "items": [{}], "additionalItems": False},
        {"type": "array", "prefixItems": [True], "items": False},
    ),
    ({"items": [{}]}, {"prefixItems": [True]}),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"enum": [1]}, {"enum": [2]}]}),
    (
        {"anyOf": [{"minimum": 3}, False], "oneOf": [{"type": "null"}, {"type": "integer"}]},
        {
            "anyOf": [{"minimum": 3}, False],
            "allOf": [{"anyOf": [{"type": "null"}, {"type": "integer"}]}],
        },
    ),
    (
        {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {
            "type": "object",
            "anyOf": [
                {"required": ["a"], "allOf": [{"type": "object", "properties": {"b": False}}]},
                {"required": ["b"], "allOf": [{"type": "object", "properties": {"a": False}}]},
            ],
        },
    ),
    ({"minimum": -(2**63), "maximum": 2**63 - 1}, {"minimum": -(2**53), "maximum": 2**53}),
    ({"minimum": 3, "exclusiveMinimum": True, "maximum": 9}, {"exclusiveMinimum": 3, "maximum": 9}),
    ({"minimum": 3, "exclusiveMinimum": 3}, {"exclusiveMinimum": 3}),
    ({"minLength": 2.0}, {"minLength": 2}),
    ({"type": "integer", "format": "int32"}, {"type": "integer"}),
    ({"type": "string", "format": "uuid"}, {"type": "string", "pattern": PATTERNS["uuid"][0]}),
    ({"allOf": [{"type": "object", "properties": {"a": {}}}, {"additionalProperties": False}]}, _APART),
    ({"not": {"type": ["null", "boolean"]}}, {"type": ["number", "string", "array", "object"]}),
    ({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "type": "null"}}}, _NULL_DEFINITION),
    ({"allOf": [{"$ref": "b"}], "$id": "http://x/a", "$defs": {"x": {"$id": "b", "type": "null"}}}, _NULL_DEFINITION),
    ({"$ref": "#/$defs/x", "$id": "x/a.json", "$defs": {"x": {"type": "null"}}}, _NULL_DEFINITION),
    ({"$ref": "http://x/a#/$defs/x", "$defs": {"x": {"type": "null"}}, "id": "http://x/a"}, _NULL_DEFINITION),
]


def root_of(schema: Json) -> JsonObject:
    document = enforceable(schema)
    return written(document.root, document).schema


@pytest.mark.parametrize(("schema", "message"), _REJECTED, ids=lambda value: str(value)[:60])
def test_an_error_gives_the_place_of_what_cannot_be_enforced(schema: Json, message: str) -> None:
    with pytest.raises(SchemaRejected, match=message):
        root_of(schema)


@pytest.mark.parametrize(("schema", "expected"), _WRITTEN, ids=lambda value: str(value)[:60])
def test_a_schema_is_written_so_that_it_is_enforced(schema: Json, expected: Json) -> None:
    assert root_of(schema) == expected


@pytest.mark.parametrize("text", ["{", '{"const": NaN}', "[" * 257 + "]" * 257, "[" * 100_000])
def test_text_that_is_not_json_or_nested_too_deeply_is_not_parsed(text: str) -> None:
    with pytest.raises(NotJson):
        parse(text, 256)


@pytest.mark.parametrize("keyword", ["items", "not", "additionalProperties", "anyOf"])
def test_a_value_that_is_nested_too_deeply_is_rejected(keyword: str) -> None:
    schema: Json = True
    for _ in range(2000):
        schema = {keyword: [schema] if keyword == "anyOf" else schema}
    with pytest.raises(SchemaRejected, match="nested too deeply"):
        root_of(schema)


def test_properties_keep_their_order() -> None:
    schema = root_of({"properties": {"z": {}, "a": {}, "m": {}}, "required": ["m", "z"]})
    assert json.dumps(schema) == '{"properties": {"z": true, "a": true, "m": true}, "required": ["m", "z"]}'


def test_every_reference_becomes_one_to_a_new_definition() -> None:
    schema: Json = {"items": {"$ref": "#/x/a~1b%25"}, "x": {"a/b%": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}
    assert root_of(schema) == {
        "items": {"$ref": "#/$defs/0"},
        "$defs": {"0": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/1"}]}, "1": {"items": {"$ref": "#/$defs/0"}}},
    }


def test_schemas_that_are_nested_deeply_become_definitions() -> None:
    """Llguidance reads JSON to a depth of 128."""
    schema: Json = {"type": "null"}
    for _ in range(90):
        schema = {"type": "object", "properties": {"a": schema}}
    assert max(map(len, re.findall("}+", json.dumps(root_of(schema))))) < 60


def test_a_schema_that_refers_to_itself_is_enforced() -> None:
    node: Json = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert root_of(node)
