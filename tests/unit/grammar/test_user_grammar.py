"""What the grammar of a caller may contain."""

import pytest

from onward_server.domain import GrammarFormat
from onward_server.errors import InvalidRequest
from onward_server.grammar.user_grammar import GrammarRejected, checked
from testing.sampling import RandomSampler


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ('start: "a"\n  | <|end|>', "line 2, column 5: control tokens such as <\\|end\\|>"),
        ("start: <[3]>", "line 1, column 8: control tokens"),
        ('%llguidance {"no_forcing": true}\nstart: "a"', "line 1, column 1: '%llguidance' cannot be used"),
        ("start: @other", "line 1, column 8: '@other' cannot be used"),
        ('a[stop = ""]: /b*/', "line 1, column 3: 'stop =' cannot be used"),
        ("a[lazy, max_tokens=3]: /b*/", "line 1, column 9: 'max_tokens=' cannot be used"),
        ('start: %json {"uniqueItems": true}', "line 1, column 13: at #/uniqueItems: uniqueItems cannot"),
        ('start: %json {"type":', "line 1, column 13: a JSON schema is expected"),
        ("start: /" + "a" * 2000 + "/", "line 1, column 8: the regular expression has 2002 characters; at most 2000"),
        ("start: " + '("a")' * 2001, "2002 rules, groups and repetitions"),
    ],
    ids=lambda value: value[:40],
)
def test_an_error_gives_the_place_of_what_a_caller_may_not_use(definition: str, message: str) -> None:
    with pytest.raises(GrammarRejected, match=message):
        checked(definition)


@pytest.mark.parametrize(
    "definition",
    [
        'start: "<|end|> @x %llguidance stop="',
        "start: /<a> @b stop=[/]\\/ %json/ // <|end|> @c\n",
        "start: A # <|end|> stop=\nA: /a/",
        'start: a ["b"] (c | "d")~2..3\na: "x"\nc: "y"',
    ],
)
def test_strings_expressions_and_comments_may_contain_anything(definition: str) -> None:
    assert checked(definition) == definition


def test_schemas_in_a_grammar_are_enforced_like_those_of_formats(writer: RandomSampler) -> None:
    definition = 'start: "a: " %json {\n  "properties": {"a": {"type": "null"}}, "type": "object"\n} "." b\n'
    grammar = writer.compile(GrammarFormat(definition=f'{definition}b: ""'))
    assert writer.allows(grammar, 'a: {"a": null, "b": 1}.')
    assert not writer.allows(grammar, 'a: {"\\u0061": 1}.')
    with pytest.raises(InvalidRequest, match="line 4, column 6: a name is not defined"):
        writer.compile(GrammarFormat(definition=f"{definition}b:   c"))


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ('start: "a" missing', "line 1, column 8: a name is not defined"),
        ('start: "a"\nb: "x', "line 2, column 6: a character is invalid"),
        ("start: /(a/", "line 1, column 8: at character 0 of the regular expression: a group is not closed"),
        ('a: "b"', "the rule 'start' is missing"),
        ("start: start", "nothing can match it"),
        ('start: "a"\nstart: "b"', "line 2, column 8: a name is defined twice"),
        ("start: A\nA: B\nB: A", "line 3, column 4: a terminal refers to itself"),
        ('start: ("a"', "its syntax is invalid"),
    ],
    ids=lambda value: value[:40],
)
def test_compile_errors_are_reported_in_our_own_words(writer: RandomSampler, definition: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^response_format.grammar.definition: .*{message}$") as refused:
        writer.compile(GrammarFormat(definition=definition))
    assert "\n" not in str(refused.value)
