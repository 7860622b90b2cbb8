"""Checks a grammar that a caller wrote in Lark notation, and rewrites the JSON Schemas in it for llguidance."""

import json
import re

from onward_server.grammar.lark import json_schema
from onward_server.grammar.schema.checks import enforceable
from onward_server.grammar.schema.tree import SchemaRejected
from onward_server.grammar.schema.writer import written
from onward_server.json_value import NotJson, parse

_LEXEME = re.compile(
    r"""
    (?P<regex> /(?![/])(?:\\.|[^/\\])+/ )
  | (?P<text> "(?:\\.|[^"\\])*" | //[^\n]* | \#[^\n]* )
  | (?P<json> %json\b )
  | (?P<control> <[^<>\s]+> )
  | (?P<forbidden> %llguidance\b | @[A-Za-z0-9_-]+ | \b(?:stop|max_tokens|temperature)\s*= )
    """,
    re.VERBOSE | re.DOTALL,
)
# The start of a rule, terminal, group or repetition; these can nest, and llguidance compiles them by recursion.
_NESTING = re.compile(r"[:(\[{*+?]")
_MAX_NESTING = 2000
_MAX_REGEX_LENGTH = 2000


class GrammarRejected(Exception):
    """A grammar that is too large or uses something that callers may not use; the message says where and what."""


def checked(definition: str) -> str:
    """The grammar, with its schemas rewritten as llguidance enforces them; line numbers stay the same.

    Raises:
        GrammarRejected: It uses control tokens, other grammars or reserved attributes, is too large, or contains a
                schema that cannot be enforced.
    """
    num_nesting = len(_NESTING.findall(definition))
    if num_nesting > _MAX_NESTING:
        raise GrammarRejected(f"has {num_nesting} rules, groups and repetitions; at most {_MAX_NESTING} are allowed")
    pieces: list[str] = []
    position = 0
    while match := _LEXEME.search(definition, position):
        if reason := _rejection(match):
            raise GrammarRejected(f"{_place(definition, match.start())}: {reason}")
        pieces.append(definition[position : match.end()])
        position = match.end()
        if match.lastgroup == "json":
            end = _end_of_json(definition, position)
            pieces.append(_schema(definition, position, end))
            position = end
    return "".join(pieces) + definition[position:]


def _rejection(lexeme: re.Match[str]) -> str | None:
    match lexeme.lastgroup:
        case "control":
            return f"control tokens such as {lexeme[0]} cannot be used"
        case "forbidden":
            return f"{lexeme[0]!r} cannot be used"
        case "regex" if len(lexeme[0]) > _MAX_REGEX_LENGTH:
            return f"the regular expression has {len(lexeme[0])} characters; at most {_MAX_REGEX_LENGTH} are allowed"
        case _:
            return None


def _end_of_json(definition: str, start: int) -> int:
    skipped = len(definition[start:]) - len(definition[start:].lstrip())
    try:
        return json.JSONDecoder().raw_decode(definition, start + skipped)[1]
    except (ValueError, RecursionError):
        raise GrammarRejected(f"{_place(definition, start)}: a JSON schema is expected after %json") from None


def _schema(definition: str, start: int, end: int) -> str:
    try:
        document = enforceable(parse(definition[start:end]))
        rewritten = json.dumps(json_schema(written(document.root, document).schema))
    except (NotJson, SchemaRejected) as error:
        raise GrammarRejected(f"{_place(definition, start)}: {error}") from error
    line_breaks = "\n" * definition.count("\n", start, end)
    return f" {{{line_breaks}{rewritten[1:]}"


def _place(definition: str, position: int) -> str:
    line = definition.count("\n", 0, position) + 1
    column = position - definition.rfind("\n", 0, position)
    return f"line {line}, column {column}"
