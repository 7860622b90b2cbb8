"""The types that a schema allows for a property, and the cases in which they are unknown."""

from typing import Any

import pytest

from onward_server.grammar.schema.reader import read
from onward_server.grammar.schema.value_types import ALL_TYPES, SchemaTypes
from onward_server.json_value import Json

_TEXT: Any = {"type": "string"}
_MANY: Any = [_TEXT] * 200


def named(value: Json | set[str] | frozenset[str]) -> str:
    """The name of a value in that of a test. The order of a set differs from process to process."""
    return str(sorted(value) if isinstance(value, set | frozenset) else value)


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"properties": {"a": _TEXT}}, {"string"}),
        ({"properties": {"a": {"type": "number"}}}, {"number", "integer"}),
        ({"properties": {"a": {"enum": ["x", 5, None]}}}, {"string", "integer", "number", "null"}),
        ({"properties": {"a": {"type": ["string", "integer"], "const": 2.0}}}, {"integer"}),
        ({"properties": {"a": {"anyOf": [_TEXT, {"type": "null"}]}}}, {"string", "null"}),
        ({"properties": {"a": {"allOf": [{"type": ["string", "null"]}, {"enum": ["x"]}]}}}, {"string"}),
        ({"properties": {"a": {"$ref": "#/d/x"}}, "d": {"x": _TEXT}}, {"string"}),
        ({"properties": {"a": {"$ref": "#/d/x"}}, "d": {"x": {"$ref": "#/d/x"}}}, ALL_TYPES),
        ({"properties": {"a": {"$ref": "elsewhere"}}}, ALL_TYPES),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, ALL_TYPES),
        ({"properties": {"a": {}}}, ALL_TYPES),
        ({"properties": {"a": False}}, set[str]()),
        ({"properties": {"a": {"anyOf": _MANY}}}, ALL_TYPES),
        ({"additionalProperties": _TEXT}, {"string"}),
        ({"patternProperties": {"a": _TEXT}}, ALL_TYPES),
        ({"oneOf": [{"properties": {"a": _TEXT}}, {"properties": {"a": {"type": "null"}}}]}, {"string", "null"}),
        ({"$ref": "#/d", "d": {"properties": {"a": _TEXT}}}, {"string"}),
        (True, ALL_TYPES),
    ],
    ids=named,
)
def test_every_type_that_a_property_can_have_is_found(schema: Json, types: set[str]) -> None:
    assert SchemaTypes(read(schema)).of_property("a") == types


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"properties": {"a": _TEXT}, "additionalProperties": {"type": "null"}}, {"null"}),
        ({"additionalProperties": {"type": "null"}, "anyOf": [{"properties": {"a": _TEXT}}]}, ALL_TYPES),
        ({}, ALL_TYPES),
        (True, ALL_TYPES),
    ],
    ids=named,
)
def test_unlisted_properties_have_the_types_of_additional_properties(schema: Json, types: set[str]) -> None:
    assert SchemaTypes(read(schema)).of_others() == types


def test_the_types_of_a_property_do_not_depend_on_earlier_calls() -> None:
    """Otherwise the grammar and the parser of its output could use different types."""
    properties: Any = {f"k{i}": {"$ref": "#/d"} for i in range(200)}
    schema: Any = {"properties": properties, "d": {"anyOf": [_TEXT, _TEXT]}}
    types = SchemaTypes(read(schema))
    assert {types.of_property(f"k{i}") for i in range(200)} == {frozenset({"string"})}
