"""Constraints, each with an independent check that an output satisfies it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onward_server.domain import JsonObjectFormat, JsonSchemaFormat, ResponseFormat
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from testing.json_validation import complaint, schema_validator

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"anyOf": [{"type": "string", "pattern": "^[a-z]{1,8}@[a-z]{1,8}\\.com$"}, {"type": "null"}]},
    },
    "required": ["name", "age", "email"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, Any] = {
    "person": PERSON,
    "list of people": {"type": "array", "items": {"$ref": "#/$defs/p"}, "maxItems": 3, "$defs": {"p": PERSON}},
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"value": {"type": "integer"}, "left": {"$ref": "#/$defs/or_none"}},
                "required": ["value", "left"],
                "additionalProperties": False,
            },
            "or_none": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
    },
    "shapes told apart by a constant": {
        "oneOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#/$defs/square"}],
        "$defs": {
            "circle": {
                "type": "object",
                "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["kind", "radius"],
            },
            "square": {
                "type": "object",
                "properties": {"kind": {"const": "square"}, "side": {"type": "number", "minimum": 1, "maximum": 2}},
                "required": ["kind", "side"],
                "additionalProperties": False,
            },
        },
    },
    "optional properties": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"enum": ["x", 1, None]}},
        "minProperties": 1,
        "additionalProperties": False,
    },
    "properties of a type": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3},
    "named and other properties": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "e": {"type": "boolean"}},
        "required": ["a", "e"],
        "additionalProperties": {"type": "string", "maxLength": 3},
        "maxProperties": 4,
    },
    "properties by pattern": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "number"}, "^s_": {"type": "string", "maxLength": 2}},
        "additionalProperties": False,
        "maxProperties": 3,
    },
    "tuple": {
        "prefixItems": [{"type": "string", "maxLength": 2}, {"type": "integer"}],
        "items": False,
        "type": "array",
    },
    "tuple of an older draft": {
        "type": "array",
        "prefixItems": [{"type": "boolean"}],
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 4,
    },
    "matrix": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number", "multipleOf": 0.5}, "minItems": 2, "maxItems": 2},
        "maxItems": 3,
    },
    "constants": {"enum": ["red", "green", {"a": [1, 2.5, None]}, [], 'q"uo\\te\n', "é😀", -0.25, True]},
    "constant object": {"const": {"b": 1, "a": [True, {"c": "d/e"}]}},
    "integers in a range": {"type": "integer", "minimum": -17, "exclusiveMaximum": 1234},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": -100, "maximum": 100},
    "numbers in a range": {"type": "number", "minimum": -0.5, "exclusiveMaximum": 12.75},
    "dates": {"type": "string", "format": "date"},
    "times": {"type": "string", "format": "date-time", "maxLength": 30},
    "addresses": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "uuid"}]},
    "quotes left out": {"type": "string", "pattern": '^[^"\\\\]{2,5}$'},
    "words left out": {"type": "string", "pattern": "^\\W\\D\\S[^\\w]$"},
    "two patterns": {"type": "string", "pattern": "^[a-z]+$", "allOf": [{"pattern": "b"}, {"maxLength": 5}]},
    "lengths": {"type": "string", "minLength": 3, "maxLength": 6},
    "merged": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["b"]},
            {"properties": {"a": {"maximum": 9}, "b": {"type": "boolean"}}, "additionalProperties": {"type": "null"}},
        ],
        "required": ["a"],
        "maxProperties": 3,
    },
    "several types": {"type": ["integer", "null", "boolean"]},
    "strange names": {
        "type": "object",
        "properties": {
            'a"b': {"type": "null"},
            "c\nd": {"type": "null"},
            "~/": {"type": "null"},
            "é": {"type": "null"},
        },
        "required": ['a"b', "c\nd", "~/"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """A constraint, and a check of outputs."""

    kind: str
    """The group of cases it belongs to; together with the name it is unique."""
    name: str
    compile: Callable[[GrammarCompiler], Grammar]
    complaint: Callable[[str], str | None]
    """What is wrong with a text; None if it satisfies the constraint."""
    phrases: tuple[str, ...] = ()
    """Texts that outputs are sampled from beside single tokens."""
    endings: tuple[str, ...] = ()
    """Texts that end what is not JSON in an output; random tokens would hardly ever spell them."""

    @property
    def full_name(self) -> str:
        """Seeds what is sampled."""
        return f"{self.kind}: {self.name}"


def own_cases() -> list[Case]:
    """Schemas that combine keywords, and the format of any object."""
    return [
        *(schema_case("schema", name, schema) for name, schema in SCHEMAS.items()),
        format_case("json_object", "any", JsonObjectFormat(), lambda text: json_complaint({"type": "object"}, text)),
    ]


def schema_case(kind: str, name: str, schema: object) -> Case:
    """The response format of a schema."""
    response_format = JsonSchemaFormat(schema=json.dumps(schema))
    return format_case(kind, name, response_format, lambda text: json_complaint(schema, text))


def format_case(kind: str, name: str, response_format: ResponseFormat, complaint: Callable[[str], str | None]) -> Case:
    """A response format."""
    return Case(kind, name, lambda compiler: compiler.compile(response_format).result(), complaint)


def json_complaint(schema: Any, text: str) -> str | None:  # noqa: ANN401  JSON of any kind
    """What is wrong with a text as JSON of a schema; None if it is valid."""
    return complaint(schema_validator(schema), text)
