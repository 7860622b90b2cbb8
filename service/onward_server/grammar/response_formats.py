"""Checks each response format and writes its grammar."""

import re
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
from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.schema.tree import Document, Schema, SchemaRejected
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
    """The grammar of one string, to be tried out alone."""

    description: str
    """Names the string in an error."""
    grammar: lark.Grammar
    must_match: bool = False
    """Whether the constraint leads nowhere where no string matches."""


@dataclass(frozen=True, slots=True)
class Part:
    """One grammar of a set, and what of the request it stands for."""

    field: str
    """Path in the request."""
    grammar: lark.Grammar
    has_lines: bool = False
    """Whether it is written in lines, as its caller wrote them."""
    probes: tuple[Probe, ...] = ()


def rejected(field: str, description: str) -> InvalidRequest:
    """The error for a constraint that cannot be kept."""
    return InvalidRequest.of(field, description, InvalidReason.INVALID_RESPONSE_FORMAT)


def format_part(response_format: ResponseFormat, name: str) -> Part:
    """The grammar of a response format, under a name.

    Raises:
        InvalidRequest: The format is too large, or says what cannot be enforced.
    """
    match response_format:
        case JsonObjectFormat():
            return _schema_part("response_format.json_object", name, {"type": "object"})
        case JsonSchemaFormat(schema=schema):
            field = "response_format.json_schema.schema"
            check_schema_size(field, schema)
            try:
                return _schema_part(field, name, response_format.parsed_schema)
            except NotJson as error:
                raise rejected(field, f"not JSON: {error}") from error
        case RegexFormat(pattern=pattern):
            return _regex_part("response_format.regex.pattern", name, pattern)
        case GrammarFormat(definition=definition):
            return _grammar_part("response_format.grammar.definition", name, definition)
        case ChoiceFormat(choices=choices):
            return _choice_part("response_format.choice.choices", name, choices)
        case _:
            assert_never(response_format)


def checked_schema(field: str, schema: Json) -> Document:
    """A JSON schema that can be enforced.

    Raises:
        InvalidRequest: It cannot be.
    """
    try:
        return enforceable(schema)
    except SchemaRejected as error:
        raise rejected(field, str(error)) from error


def check_schema_size(field: str, text: str) -> None:
    """Raises InvalidRequest if the text of a schema is too large."""
    _check_size(field, text, _MAX_SCHEMA_BYTES)


def json_part(field: str, name: str, schema: Schema, document: Document) -> Part:
    """The grammar of JSON that matches a schema, which may refer to definitions of a document.

    Raises:
        InvalidRequest: It cannot be enforced.
    """
    try:
        result = written(schema, document)
    except SchemaRejected as error:
        raise rejected(field, str(error)) from error
    probes = [Probe(f"at {place}", {"json_schema": lark.json_schema(text)}) for place, text in result.texts.items()]
    return Part(field, {"name": name, "json_schema": lark.json_schema(result.schema)}, probes=tuple(probes))


def _schema_part(field: str, name: str, schema: Json) -> Part:
    document = checked_schema(field, schema)
    return json_part(field, name, document.root, document)


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
    probe = Probe("the pattern", _regex_grammar("", pattern))
    return Part(field, _regex_grammar(name, pattern), probes=(probe,))


def _choice_part(field: str, name: str, choices: tuple[str, ...]) -> Part:
    if not choices:
        raise rejected(field, "there is nothing to choose from")
    if len(choices) > _MAX_CHOICES:
        raise rejected(field, f"{len(choices)} choices, of which {_MAX_CHOICES} are allowed")
    size = 0
    for index, choice in enumerate(choices):
        size += len(choice.encode())
        if size > _MAX_CHOICES_BYTES:
            raise rejected(
                f"{field}[{index}]", f"here the choices exceed the {_MAX_CHOICES_BYTES} bytes allowed together"
            )
    return Part(field, _regex_grammar(name, "|".join(map(lark.regex_literal, choices))))


def _check_size(field: str, text: str, max_bytes: int) -> None:
    size = len(text.encode())
    if size > max_bytes:
        raise rejected(field, f"{size} bytes, of which {max_bytes} are allowed")


def _regex_grammar(name: str, pattern: str) -> lark.Grammar:
    r"""As RE2 has it: `\d`, `\w` and `\s` are ASCII."""
    definition = f"start: /{regex_to_lark(pattern, 'dws')}/" if pattern else 'start: ""'
    return {"name": name, "lark_grammar": definition} if name else {"lark_grammar": definition}
