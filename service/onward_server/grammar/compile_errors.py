"""Translates the error messages of llguidance into our own, which name no internals."""

import re

_LARK_PLACE = re.compile(r"(?:at )?(\d+)\((\d+)\): ")
_REGEX_PLACE = re.compile(r"regex parse error:\n {4}(?P<pattern>.*)\n {4}(?P<blank> *)\^")

_NOT_A_REGEX = (
    ("unclosed group", "a group is not closed"),
    ("unopened group", "a closing parenthesis has no opening one"),
    ("unclosed character class", "a character class is not closed"),
    ("look-a", "lookahead and lookbehind are not supported"),
    ("backreferences", "backreferences are not supported"),
    ("unrecognized escape", "an escape sequence is unknown"),
    ("repetition", "a repetition is invalid"),
    ("range start must be <= range end", "a range ends before it begins"),
)
_REASONS = (
    ("too many", "it is too complex"),
    ("Too many", "it is too complex"),
    (
        "lookarounds not supported",
        "^, $ or \\b is in a place where it cannot be enforced; use ^ and $ only at the ends",
    ),
    ("Unsatisfiable schema", "no value can match it"),
    ("are disjoint", "two patterns of patternProperties are too complex to find out whether a name can match both"),
    ("are not disjoint", "a name may match two patterns of patternProperties"),
    ("min/maxProperties", "minProperties or maxProperties with optional properties cannot be enforced"),
    ("circular references", "a schema that refers to itself cannot have other keywords next to the reference"),
    ("if regex is empty", "a pattern is too complex"),
    ("multipleOf", "multipleOf has too many digits"),
    ("multiple of", "multipleOf has too many digits"),
    ("float range", "bounds have too many digits"),
    ("integer range", "bounds have too many digits"),
    ("unknown name", "a name is not defined"),
    ("Current row", "it is too ambiguous: too many rules can match the same text"),
    ("no start rule", "the rule 'start' is missing"),
    ("Empty grammar", "it is empty"),
    ("circular reference in token", "a terminal refers to itself"),
    ("duplicate", "a name is defined twice"),
    ("Expected", "its syntax is invalid"),
    ("expect", "its syntax is invalid"),
    ("not supported", "it uses a feature that is not supported"),
    ("too deeply nested", "it is nested too deeply"),
    ("NoExtension", "nothing can match it"),
    ("too large", "it is too large"),
    ("fuel", "it is too complex"),
    ("limit", "it is too complex"),
    ("lexer error", "a character is invalid"),
    ("exceeded", "it is too complex"),
)


def reason(error: str, *, has_lines: bool) -> str:
    """Translates a message of llguidance; keeps its line and column.

    `has_lines`: the line numbers in the message refer to text that the caller wrote.
    """
    place = _LARK_PLACE.match(error) if has_lines else None
    regex = _REGEX_PLACE.search(error)
    where = "" if place is None else f"line {place[1]}, column {place[2]}: "
    if regex is not None:
        return f"{where}at character {len(regex['blank'])} of the regular expression: {_known(error, _NOT_A_REGEX)}"
    return where + _known(error.partition("\n")[0], _REASONS)


def _known(error: str, reasons: tuple[tuple[str, str], ...]) -> str:
    return next((words for part, words in reasons if part in error), "it cannot be compiled")
