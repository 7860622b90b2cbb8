"""Checks each response format and writes its grammar."""

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
from onward_server.grammar import lark, user_grammar
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.schema.writer import written
from onward_server.json_value import Json, NotJson

_MAX_SCHEMA_BYTES = 1024 * 1024
_MAX_GRAMMAR_BYTES = 32 * 1024
_MAX_PATTERN_BYTES = 8 * 1024
_MAX_CHOICES = 1024
_MAX_CHOICES_BYTES = 64 * 1024
_ENDS_IN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


@dataclass(frozen=True, slots=True)
class Probe:
    """The grammar of one string, which the compiler tries out on its own."""

    description: str
    """Names the string in an error."""
    grammar: lark.Grammar
    must_match: bool = False
    """Whether to reject the constraint if no string matches this grammar."""


@dataclass(frozen=True, slots=True)
class Part:
    """One grammar of a set, and the field of the request that it enforces."""

    field: str
    grammar: lark.Grammar
    has_lines: bool = False
    """Whether the caller wrote the grammar, so that an error may name its lines."""
    probes: tuple[Probe, ...] = ()


def rejected(field: str, description: str) -> InvalidRequest:
    """The error for a constraint that cannot be enforced."""
    return InvalidRequest.of(field, description, InvalidReason.INVALID_RESPONSE_FORMAT)


def format_part(response_format: ResponseFormat, name: str) -> Part:
    """The grammar of a response format; `name` is the name of the grammar in its set.

    Raises:
        InvalidRequest: The format is too large or cannot be enforced.
    """
    match response_format:
        case JsonObjectFormat():
            document = enforceable({"type": "object"})
            return json_part("response_format.json_object", name, document.root, document)
        case JsonSchemaFormat(schema=schema):
            field = "response_format.json_schema.schema"
            document = schema_document(field, schema, lambda: response_format.parsed_schema)
            return json_part(field, name, document.root, document)
        case RegexFormat(pattern=pattern):
            return _regex_part("response_format.regex.pattern", name, pattern)
        case GrammarFormat(definition=definition):
            return _grammar_part("response_format.grammar.definition", name, definition)
        case ChoiceFormat(choices=choices):
            return _choice_part("response_format.choice.choices", name, choices)
        case _:
            assert_never(response_format)


def schema_document(field: str, text: str, parsed: Callable[[], Json]) -> tree.Document:
    """A JSON Schema that can be enforced; `parsed` returns the value of its text.

    Raises:
        InvalidRequest: The text is too large or not JSON, or the schema cannot be enforced.
    """
    _check_size(field, text, _MAX_SCHEMA_BYTES)
    try:
        return enforceable(parsed())
    except NotJson as error:
        raise rejected(field, f"not JSON: {error}") from error
    except tree.SchemaRejected as error:
        raise rejected(field, str(error)) from error


def json_part(field: str, name: str, schema: tree.Schema, document: tree.Document) -> Part:
    """The grammar of JSON that matches a schema, which may refer to definitions of a document.

    Raises:
        InvalidRequest: The schema cannot be enforced.
    """
    try:
        result = written(schema, document)
    except tree.SchemaRejected as error:
        raise rejected(field, str(error)) from error
    probes = [Probe(f"at {place}", {"json_schema": lark.json_schema(text)}) for place, text in result.texts.items()]
    return Part(field, {"name": name, "json_schema": lark.json_schema(result.schema)}, probes=tuple(probes))


def _grammar_part(field: str, name: str, definition: str) -> Part:
    _check_size(field, definition, _MAX_GRAMMAR_BYTES)
    try:
        return Part(field, {"name": name, "lark_grammar": user_grammar.checked(definition)}, has_lines=True)
    except user_grammar.GrammarRejected as error:
        raise rejected(field, str(error)) from error


def _regex_part(field: str, name: str, pattern: str) -> Part:
    _check_size(field, pattern, _MAX_PATTERN_BYTES)
    if _ENDS_IN_ESCAPE.search(pattern):
        raise rejected(field, f"at character {len(pattern) - 1}: a backslash ends the pattern")
    grammar = _regex_grammar(pattern)
    return Part(field, {"name": name, **grammar}, probes=(Probe("the pattern", grammar),))


def _choice_part(field: str, name: str, choices: tuple[str, ...]) -> Part:
    if not choices:
        raise rejected(field, "is empty; at least one choice is required")
    if len(choices) > _MAX_CHOICES:
        raise rejected(field, f"has {len(choices)} choices; at most {_MAX_CHOICES} are allowed")
    size = 0
    for index, choice in enumerate(choices):
        size += len(choice.encode())
        if size > _MAX_CHOICES_BYTES:
            reason = f"the choices up to this one have {size} bytes in total; at most {_MAX_CHOICES_BYTES} are allowed"
            raise rejected(f"{field}[{index}]", reason)
    return Part(field, {"name": name, **_regex_grammar("|".join(map(lark.regex_literal, choices)))})


def _check_size(field: str, text: str, max_bytes: int) -> None:
    size = len(text.encode())
    if size > max_bytes:
        raise rejected(field, f"has {size} bytes; at most {max_bytes} are allowed")


def _regex_grammar(pattern: str) -> lark.Grammar:
    r"""The grammar of a pattern in the syntax of RE2, where `\d`, `\w` and `\s` are ASCII."""
    return {"lark_grammar": f"start: /{regex_to_lark(pattern, 'dws')}/" if pattern else 'start: ""'}
