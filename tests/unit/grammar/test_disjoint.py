"""Which pairs of schemas are proven to share no value."""

import pytest

from onward_server.grammar.schema.disjoint import exclusive
from onward_server.grammar.schema.reader import read
from onward_server.grammar.schema.tree import OneOf, SchemaRejected
from onward_server.json_value import Json

_CAT: Json = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
_DOG: Json = {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]}


def are_disjoint(one: Json, other: Json) -> bool:
    document = read({"oneOf": [one, other], "cat": _CAT, "dog": _DOG, "loop": {"$ref": "#/loop"}})
    assert isinstance(document.root, OneOf)
    try:
        return exclusive(document.root, document.definitions).choices == document.root.choices
    except SchemaRejected:
        return False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "string"}, {"type": ["integer", "null"]}),
        ({"const": 1}, {"const": 2}),
        ({"enum": ["a", 1]}, {"enum": ["b", True]}),
        ({"const": "a"}, {"type": "number"}),
        (False, {}),
        ({"enum": [None, True]}, {"enum": [False, [1]]}),
        (_CAT, _DOG),
        ({"$ref": "#/cat"}, {"$ref": "#/dog"}),
        ({"$ref": "#/cat", "description": "a cat"}, {"allOf": [{"$ref": "#/dog"}, {"type": "object"}]}),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, {"oneOf": [{"const": 3}, {"type": "null"}]}),
        (
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {}}, "additionalProperties": False},
        ),
        ({"type": "number", "maximum": 3}, {"type": "number", "exclusiveMinimum": 3}),
        ({"type": "string", "maxLength": 3}, {"type": "string", "minLength": 4}),
        ({"type": "array", "maxItems": 3}, {"type": "array", "minItems": 4}),
    ],
)
def test_schemas_without_a_common_value_are_proven_disjoint(one: Json, other: Json) -> None:
    assert are_disjoint(one, other)
    assert are_disjoint(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "integer"}, {"type": "number"}),
        ({"type": "number", "maximum": 3}, {"type": "number", "minimum": 3}),
        ({"type": "string", "maxLength": 3}, {"type": "string", "minLength": 3}),
        ({"const": 1}, {"const": 1.0}),
        ({"const": {"a": [1]}}, {"enum": [{"a": [1.0]}]}),
        ({}, {"type": "null"}),
        ({"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"a": {"const": 2}}}),
        (
            {"type": "object", "properties": {"a": {"const": 1}}},
            {"type": "object", "properties": {"a": {"const": 2}}},
        ),
        (
            {"type": "object", "required": ["ab"]},
            {"type": "object", "patternProperties": {"^a": {}}, "additionalProperties": False},
        ),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 2}),
        ({"$ref": "#/loop"}, {"type": "null"}),
    ],
)
def test_schemas_that_may_share_a_value_are_not_proven_disjoint(one: Json, other: Json) -> None:
    assert not are_disjoint(one, other)
    assert not are_disjoint(other, one)
