"""Regular expressions, grammars and lists of choices, each with an independent check of the text."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

from jsonschema import Draft202012Validator

from onward_server.domain import ChoiceFormat, GrammarFormat, RegexFormat
from testing.constraint_cases import Case, format_case

_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_REGEXES = {
    "class and digits": r"[a-c]{3}-[0-9]+",
    "alternatives with one beginning": r"(foo|foobar)?x",
    "date": r"\d{4}(-\d\d){2}",
    "line": r"[^\n]{1,5}\n",
    "optional, any, some": r"a?b*c+",
    "mail address": r"[\w.]{1,8}@\w{1,8}\.(com|org)",
    "four bytes": rf"({_BYTE}\.){{3}}{_BYTE}",
    "quoted text": r'"([^"\\\n]|\\["\\n]){0,20}"',
    "any case": r"(?i)true|on|off",
    "beyond ASCII": r"[à-ÿ]{2,6}|日本語?|😀+",
    "colour": r"#([0-9A-Fa-f]{3}){1,2}",
    "ambiguous": r"(a|b)*abb",
    "negated classes": r"\W\D\S[^\w]",
    "anchors": r"^\+?[1-9]\d{1,14}$",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "one in another": ("a", "ab", "abc", "é (1)", "/*.\\"),
    "only one": ("yes",),
    "numbers": ("1", "10", "100", "11", "1.0"),
    "spaces": (" a", "a ", " a ", "a\n", "\ta"),
    "beyond ASCII": ("日本", "日本語", "😀", "é", "e\u0301"),
    "JSON": ('{"a": 1}', '"', "null", "[]", '\\"'),
    "spelt control tokens": ("<|im_end|>", "<|return|>", "<tool_call>", "</tool_call>", "<|endoftext|>"),
    "a hundred": tuple(f"item {number}" for number in range(100)),
}

_POINT = {
    "type": "object",
    "properties": {axis: {"type": "integer", "minimum": 0, "maximum": 99} for axis in "xy"},
    "required": ["x", "y"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class _Language:
    """A grammar, and an independent check, which raises or returns False for text that is not of the language."""

    definition: str
    check: Callable[[str], bool]


def text_cases() -> list[Case]:
    """Returns the cases of all kinds."""
    return [*_regex_cases(), *_grammar_cases(), *_choice_cases()]


def _regex_cases() -> Iterator[Case]:
    for name, pattern in _REGEXES.items():
        yield format_case("regex", name, RegexFormat(pattern=pattern), partial(_regex_complaint, pattern))


def _regex_complaint(pattern: str, text: str) -> str | None:
    r"""Checks as RE2 does, where `\d`, `\w` and `\s` match ASCII only."""
    return None if re.fullmatch(pattern, text, re.ASCII) else f"no match of {pattern}"


def _choice_cases() -> Iterator[Case]:
    for name, choices in _CHOICES.items():
        yield format_case("choice", name, ChoiceFormat(choices=choices), partial(_choice_complaint, choices))


def _choice_complaint(choices: tuple[str, ...], text: str) -> str | None:
    return None if text in choices else "no choice"


def _grammar_cases() -> Iterator[Case]:
    for name, language in _LANGUAGES.items():
        response_format = GrammarFormat(definition=language.definition)
        yield format_case("grammar", name, response_format, partial(_grammar_complaint, language))


def _grammar_complaint(language: _Language, text: str) -> str | None:
    try:
        return None if language.check(text) else "not of the language"
    except (ValueError, SyntaxError, sqlite3.Error) as error:
        return f"not of the language: {error}"


def _is_sum(text: str) -> bool:
    return re.fullmatch(r"[0-9()+* ]+", text) is not None and isinstance(eval(text), int)  # noqa: S307


def _is_condition(text: str) -> bool:
    return isinstance(eval(text, {"__builtins__": {}}, {"x": True, "y": False, "z": True}), bool)  # noqa: S307


def _is_query_string(text: str) -> bool:
    pairs = parse_qsl(text, strict_parsing=True, keep_blank_values=True)
    return all(name.isalpha() and (not value or value.isdigit()) for name, value in pairs)


def _is_markup(text: str) -> bool:
    root = ET.fromstring(text)  # noqa: S314  a text of ours
    return root.tag == "a" and all(parent.tag != child.tag for parent in root.iter() for child in parent)


def _is_statement(text: str) -> bool:
    """Whether SQLite runs the statement."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        return connection.execute(text).fetchall() == []


def _is_nested_list(text: str) -> bool:
    return isinstance(json.loads(text), list) and re.search(r"[^][0-9,]", text) is None


def _is_called_with_a_point(text: str) -> bool:
    call = re.fullmatch(r"(?:move|draw)\((.*)\)", text, re.DOTALL)
    return call is not None and Draft202012Validator(_POINT).is_valid(json.loads(call[1]))  # pyright: ignore[reportUnknownMemberType]


def _is_balanced(text: str) -> bool:
    half = len(text) // 2
    return bool(text) and text == "a" * half + "b" * half


_LANGUAGES = {
    "sums": _Language(
        """
start: sum
sum: product ("+" product)*
product: atom ("*" atom)*
atom: NUMBER | "(" sum ")"
NUMBER: /0|[1-9][0-9]{0,2}/
""",
        _is_sum,
    ),
    "sums with spaces": _Language(
        """
start: atom (("+" | "*") atom)*
atom: NUMBER | "(" atom "+" atom ")"
NUMBER: /0|[1-9][0-9]{0,2}/
%ignore / {1,2}/
""",
        _is_sum,
    ),
    "conditions": _Language(
        """
start: condition
condition: operand (("&" | "|" | "^") operand)*
operand: "x" | "y" | "z" | "(" condition ")"
""",
        _is_condition,
    ),
    "query strings": _Language(
        """
start: pair ("&" pair)*
pair: NAME "=" VALUE?
NAME: /[a-z]{1,6}/
VALUE: /[0-9]{1,4}/
""",
        _is_query_string,
    ),
    "markup": _Language(
        """
start: a
a: "<a>" b* WORDS? "</a>"
b: "<b/>" | "<b>" a? "</b>"
WORDS: /[a-z ]{1,12}/
""",
        _is_markup,
    ),
    "statements": _Language(
        """
start: "SELECT " columns " FROM t" condition? order?
columns: "*" | COLUMN (", " COLUMN)*
condition: " WHERE " COLUMN (" = " | " >= ") VALUE
order: " ORDER BY " COLUMN (" ASC" | " DESC")?
COLUMN: "a" | "b"
VALUE: /[0-9]{1,4}/ | /'[a-z]{0,5}'/
""",
        _is_statement,
    ),
    "nested lists": _Language(
        """
start: list
list: "[" (item ("," item)*)? "]"
item: list | NUMBER
NUMBER: /0|[1-9][0-9]?/
""",
        _is_nested_list,
    ),
    "calls with JSON": _Language(
        f'start: ("move" | "draw") "(" %json {json.dumps(_POINT)} ")"', _is_called_with_a_point
    ),
    "left recursion": _Language('start: start "a" | "b"', lambda text: re.fullmatch("ba*", text) is not None),
    "as many of each": _Language('start: "a" start "b" | "ab"', _is_balanced),
}
