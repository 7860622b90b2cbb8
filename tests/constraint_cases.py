"""Constraints of every kind, each with a check of its own that an answer keeps to it; it draws nothing."""

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from service.domain import (
    ChoiceFormat,
    FunctionTool,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from service.grammar.compiler import Grammar, GrammarCompiler
from service.grammar.tool_calls import CallFrame, OfferedTool, ThinkingFrame, ToolCallConstraint

SUITE = Path(__file__).parents[2] / "shared/data/jsonschema/JSON-Schema-Test-Suite.tar.gz"

HERMES = CallFrame(
    trigger="<tool_call>",
    begin='<tool_call>\n{"name": "',
    arguments_begin='", "arguments": ',
    end="}\n</tool_call>",
    separator="\n",
)
MISTRAL = CallFrame(
    trigger="[TOOL_CALLS]",
    section_begin="[TOOL_CALLS][",
    begin='{"name": "',
    arguments_begin='", "arguments": ',
    end="}",
    separator=", ",
    section_end="]",
)
LLAMA = CallFrame(
    trigger='{"name": "', begin='{"name": "', arguments_begin='", "parameters": ', end="}", start_triggers=("{",)
)
_PERSON: dict[str, Any] = {
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
    "person": _PERSON,
    "list of people": {"type": "array", "items": {"$ref": "#/$defs/p"}, "maxItems": 3, "$defs": {"p": _PERSON}},
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
_LARK = """
start: sum
sum: product ("+" product)*
product: atom ("*" atom)*
atom: NUMBER | "(" sum ")"
NUMBER: /0|[1-9][0-9]{0,2}/
"""
_ADD = FunctionTool(
    name="add",
    strict=True,
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"enum": ["one", "two"]}},
            "required": ["x", "y"],
            "additionalProperties": False,
        }
    ),
)
_ADD_ALL = FunctionTool(
    name="add_all",
    strict=True,
    parameters='{"properties": {"of": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}}, '
    '"required": ["of"], "additionalProperties": false}',
)
_NOW = FunctionTool(name="now", strict=True)
TOOLS = tuple(OfferedTool(tool=tool, field=f"tools[{i}].function") for i, tool in enumerate((_ADD, _ADD_ALL, _NOW)))


@dataclass(frozen=True, slots=True)
class Case:
    """A constraint and what tells whether a text keeps to it."""

    kind: str
    name: str
    compile: Callable[[GrammarCompiler], Grammar]
    complaint: Callable[[str], str | None]
    """None: the text keeps to it."""


def suite_cases() -> Iterator[Case]:
    """The schemas of the JSON Schema test suite for draft 2020-12, those aside that Python's patterns cannot check."""
    with tarfile.open(SUITE) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None or not re.search(r"tests/draft2020-12/.*\.json$", member.name):
                continue
            for group in json.load(source):
                if "\\\\p{" not in json.dumps(group["schema"]):
                    yield schema_case("suite", f"{Path(member.name).stem}: {group['description']}", group["schema"])


def own_cases() -> list[Case]:
    """Constraints of every kind."""
    arithmetic = re.compile(r"[0-9()+*]+")
    return [
        *(schema_case("schema", name, schema) for name, schema in SCHEMAS.items()),
        _format_case("json_object", JsonObjectFormat(), lambda text: _json_complaint({"type": "object"}, text)),
        *(
            _format_case("regex", RegexFormat(pattern=pattern), _regex_complaint(pattern))
            for pattern in (r"[a-c]{3}-[0-9]+", r"(foo|foobar)?x", r"\d{4}(-\d\d){2}", r"[^\n]{1,5}\n", r"a?b*c+")
        ),
        _format_case("choice", ChoiceFormat(choices=("a", "ab", "abc", "é (1)", "/*.\\")), _choice_complaint),
        _format_case(
            "grammar",
            GrammarFormat(definition=_LARK),
            lambda text: None if arithmetic.fullmatch(text) and isinstance(eval(text), int) else "no sum",  # noqa: S307
        ),
        *(
            _calls_case(f"{name}, {'several' if is_parallel else 'one'}", frame, is_parallel=is_parallel)
            for name, frame in (("hermes", HERMES), ("mistral", MISTRAL), ("llama", LLAMA))
            for is_parallel in (True, False)
        ),
    ]


def schema_case(kind: str, name: str, schema: object) -> Case:
    """A schema as an answer's format."""
    response_format = JsonSchemaFormat(schema=json.dumps(schema))
    return Case(kind, name, lambda compiler: compiler.compile(response_format), lambda t: _json_complaint(schema, t))


def _format_case(kind: str, response_format: ResponseFormat, complaint: Callable[[str], str | None]) -> Case:
    return Case(kind, str(response_format), lambda compiler: compiler.compile(response_format), complaint)


def _calls_case(name: str, frame: CallFrame, *, is_parallel: bool) -> Case:
    thinking = ThinkingFrame(begin="<think>", end="</think>", is_open=False) if is_parallel else None
    constraint = ToolCallConstraint(
        frame=frame, tools=TOOLS, is_required=True, is_parallel=is_parallel, thinking=thinking
    )

    def compiled(compiler: GrammarCompiler) -> Grammar:
        grammar = compiler.compile_tool_calls(constraint)
        assert grammar is not None
        return grammar

    return Case("tool_calls", name, compiled, lambda text: _calls_complaint(frame, text, is_parallel=is_parallel))


def _decimal(text: str) -> Decimal | float:
    """Exact, but for what is too large to calculate with."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return float(text)
    return number if abs(number.adjusted()) < 1000 else float(text)


def _json_complaint(schema: object, text: str) -> str | None:
    try:
        value = json.loads(text, parse_float=_decimal)
    except ValueError as error:
        return f"no JSON: {error}"
    exact_schema = json.loads(json.dumps(schema), parse_float=_decimal)
    validator = Draft202012Validator(exact_schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    with localcontext(prec=4000):
        return next((error.message for error in validator.iter_errors(value)), None)  # pyright: ignore[reportUnknownMemberType]


def _regex_complaint(pattern: str) -> Callable[[str], str | None]:
    return lambda text: None if re.fullmatch(pattern, text) else f"no match of {pattern}"


def _choice_complaint(text: str) -> str | None:
    return None if text in ("a", "ab", "abc", "é (1)", "/*.\\") else "no choice"


def _calls_complaint(frame: CallFrame, text: str, *, is_parallel: bool) -> str | None:
    """Reads calls as their frame has them; thinking may come first."""
    rest = text.rpartition("</think>")[2].lstrip("\n") if is_parallel else text
    rest = rest.removeprefix(frame.section_begin)
    calls = 0
    while rest.startswith(frame.begin):
        name, _, rest = rest.removeprefix(frame.begin).partition(frame.arguments_begin)
        arguments, end = json.JSONDecoder().raw_decode(rest)
        tool = next((offered.tool for offered in TOOLS if offered.tool.name == name), None)
        if tool is None:
            return f"no tool is named {name}"
        schema = json.loads(tool.parameters or '{"type": "object", "maxProperties": 0}')
        if complaint := _json_complaint({"type": "object", **schema}, json.dumps(arguments)):
            return complaint
        rest = rest[end:].removeprefix(frame.end)
        rest = rest.removeprefix(frame.separator or "")
        calls += 1
    if rest != frame.section_end or not calls or (calls > 1 and not is_parallel):
        return f"{calls} calls, then {rest!r}"
    return None
