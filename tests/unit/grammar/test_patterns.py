"""Patterns of schemas match as ECMA-262 says, although llguidance has its own dialect."""

import json

import pytest

from onward_server.domain import JsonSchemaFormat
from onward_server.grammar.schema.patterns import PatternRejected, rewritten
from testing.sampling import RandomSampler


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def is_allowed(writer: RandomSampler, pattern: str, text: str) -> bool:
    schema = json.dumps({"type": "string", "pattern": pattern})
    written = json.dumps(text, ensure_ascii=False)
    return writer.allows(writer.compile(JsonSchemaFormat(schema=schema)), written)


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("b", ["b", "abc"], ["", "ac"]),
        ("^ab?$", ["a", "ab"], ["abb", "xa"]),
        ("^(?:a|b){2,3}$", ["ab", "bab"], ["a", "abab", "c"]),
        ("^(?<year>[0-9]{4})$", ["2026"], ["20261"]),
        (r"^\d\D$", ["1a", "9-"], ["11", "\u0663a", "1\u0663"]),
        (r"^\w\W$", ["a-", "_ "], ["aa", "é-", "aé"]),
        (r"^\s\S$", [" a", "\t.", "\u00a0x"], ["aa", "  ", "\ufeffa"]),
        (r"^[^\s\d]$", ["a", "é"], [" ", "5", "\u0663", "\u0085"]),
        (r"^[^\W]$", ["a", "_"], ["-", " "]),
        ('^[^"]$', ["a", "\\", "\n"], ['"']),
        (r"^[^\\]$", ["a", '"'], ["\\"]),
        ("^[^ -~]$", ["é", "\t"], ['"', "\\", "a"]),
        (r'^["\x00-\x1f]$', ['"', "\n"], ["\\", "a"]),
        ("^.$", ["a", "😀"], ["\n", "\r", "\u2028", "ab"]),
        ("^[a&&b]$", ["a", "&", "b"], ["ab"]),
        ("^[a-c--b]$", ["a", "-", "c"], ["d"]),
        ("^[[a]$", ["[", "a"], ["]"]),
        ("^[[:a]]$", ["[]", ":]", "a]"], ["a", "b]"]),
        (r"^[\w-.]$", ["a", "-", "."], [","]),
        ("^[-a][a-]$", ["-a", "a-"], ["b-"]),
        (r"^\u00e9\x41[\u4e00-\u9fff]$", ["éA日"], ["eA日"]),
        (r"^\/\.\-\<$", ["/.-<"], ["/x-<"]),
        (r"^\p{Lu}\P{L}$", ["É1", "A "], ["é1", "AA"]),
        (r"^[\p{Lu}_]$", ["É", "_"], ["é"]),
        (r"^\t\n[\f]$", ["\t\n\f"], ["tnf"]),
    ],
)
def test_a_pattern_allows_what_ecma_says(
    writer: RandomSampler, pattern: str, matches: list[str], others: list[str]
) -> None:
    assert [text for text in matches + others if is_allowed(writer, pattern, text)] == matches


@pytest.mark.parametrize(
    ("pattern", "position", "reason"),
    [
        ("a(?=b)", 1, "ahead"),
        ("(?!a)", 0, "ahead"),
        ("(?<=a)b", 0, "behind"),
        ("x(?i)a", 1, "flags"),
        (r"(a)\1", 3, "backreferences"),
        (r"a\b", 1, "boundaries"),
        (r"\Aa\z", 0, "escape"),
        (r"\v", 0, "escape"),
        ("a++", 2, "quantifier"),
        ("a{,2}", 1, "brace"),
        ("ab[]x]", 2, "class is empty"),
        ("[ab", 3, "not closed"),
        ("(a", 0, "not closed"),
        ("a)", 1, "no opening one"),
        (r"a\x00", 1, "0x00"),
        (r"\ud83d", 0, "surrogate"),
        ("a\\", 1, "escape"),
    ],
)
def test_an_error_gives_the_position_of_what_cannot_be_enforced(pattern: str, position: int, reason: str) -> None:
    with pytest.raises(PatternRejected, match=reason) as refused:
        rewritten(pattern)
    assert refused.value.position == position
