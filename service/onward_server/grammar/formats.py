"""Writes the grammar of each response format, checked first; it knows no tokens and no tool calls."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from llguidance import regex_to_lark

from onward_server.domain import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar import combinations, lark, user_grammar
from onward_server.grammar.json_schema import SchemaRefused, enforceable
from onward_server.grammar.values import JsonObject

_MAX_SCHEMA_BYTES = 128 * 1024
_MAX_GRAMMAR_BYTES = 32 * 1024
_MAX_PATTERN_BYTES = 8 * 1024
_MAX_CHOICES = 1024
_MAX_CHOICES_BYTES = 64 * 1024
_ENDS_IN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


@dataclass(frozen=True, slots=True)
class Probe:
    """A part of a grammar that must match something, where nothing else would find the dead end."""

    description: str
    """What of the request it stands for."""
    grammar: str


@dataclass(frozen=True, slots=True)
class Part:
    """One grammar of a set, and what of the request it stands for."""

    field: str
    """Path in the request."""
    grammar: lark.Grammar
    has_lines: bool = False
    """Whether it is written in lines, as its caller wrote them."""
    num_ways: int = 0
    """To combine alternatives in it."""
    probes: tuple[Probe, ...] = ()


def refused(field: str, description: str) -> InvalidRequest:
    """The error for a constraint that cannot be kept."""
    return InvalidRequest.of(field, description, InvalidReason.INVALID_RESPONSE_FORMAT)


def format_part(response_format: ResponseFormat, name: str) -> Part:
    """The grammar of a response format, under a name.

    Raises:
        InvalidRequest: The format is too large, or says what cannot be enforced.
    """
    match response_format:
        case JsonObjectFormat():
            return Part("response_format.json_object", json_grammar(name, {"type": "object"}))
        case JsonSchemaFormat(schema=schema):
            return _schema_part("response_format.json_schema.schema", name, schema)
        case RegexFormat(pattern=pattern):
            return _regex_part("response_format.regex.pattern", name, pattern)
        case GrammarFormat(definition=definition):
            return _grammar_part("response_format.grammar.definition", name, definition)
        case ChoiceFormat(choices=choices):
            return _choice_part("response_format.choice.choices", name, choices)
        case _:
            assert_never(response_format)


def _schema_part(field: str, name: str, schema: str) -> Part:
    rewritten = checked_schema(field, schema, enforceable)
    return Part(field, json_grammar(name, rewritten), num_ways=count_ways(rewritten))


def checked_schema(field: str, schema: str, rewrite: Callable[[str], JsonObject]) -> JsonObject:
    """A JSON schema, rewritten.

    Raises:
        InvalidRequest: It is too large, none, or cannot be enforced.
    """
    _check_size(field, schema, _MAX_SCHEMA_BYTES)
    try:
        return rewrite(schema)
    except SchemaRefused as error:
        raise refused(field, str(error)) from error


def count_ways(schema: JsonObject) -> int:
    """To combine the alternatives of a rewritten schema."""
    definitions = schema["$defs"]
    assert isinstance(definitions, dict), "what is rewritten has a list of definitions"
    return combinations.count(definitions)


def _grammar_part(field: str, name: str, definition: str) -> Part:
    _check_size(field, definition, _MAX_GRAMMAR_BYTES)
    try:
        return Part(field, {"name": name, "lark_grammar": user_grammar.checked(definition)}, has_lines=True)
    except user_grammar.GrammarRefused as error:
        raise refused(field, str(error)) from error


def _regex_part(field: str, name: str, pattern: str) -> Part:
    _check_size(field, pattern, _MAX_PATTERN_BYTES)
    if _ENDS_IN_ESCAPE.search(pattern):
        raise refused(field, f"at character {len(pattern) - 1}: a backslash ends the pattern")
    return Part(field, _regex_grammar(name, pattern))


def _choice_part(field: str, name: str, choices: tuple[str, ...]) -> Part:
    if not choices:
        raise refused(field, "there is nothing to choose from")
    if len(choices) > _MAX_CHOICES:
        raise refused(field, f"{len(choices)} choices, of which {_MAX_CHOICES} are allowed")
    size = 0
    for index, choice in enumerate(choices):
        size += len(choice.encode())
        if size > _MAX_CHOICES_BYTES:
            raise refused(
                f"{field}[{index}]", f"here the choices exceed the {_MAX_CHOICES_BYTES} bytes allowed together"
            )
    return Part(field, _regex_grammar(name, "|".join(map(lark.regex_literal, choices))))


def _check_size(field: str, text: str, max_bytes: int) -> None:
    size = len(text.encode())
    if size > max_bytes:
        raise refused(field, f"{size} bytes, of which {max_bytes} are allowed")


def json_grammar(name: str, schema: JsonObject) -> lark.Grammar:
    """The grammar of JSON that matches a rewritten schema."""
    return {"name": name, "json_schema": {**schema, "x-guidance": lark.JSON_OPTIONS}}


def _regex_grammar(name: str, pattern: str) -> lark.Grammar:
    r"""As RE2 has it: `\d`, `\w` and `\s` are ASCII."""
    return {"name": name, "lark_grammar": f"start: /{regex_to_lark(pattern, 'dws')}/" if pattern else 'start: ""'}
