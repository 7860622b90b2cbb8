"""The counts of the structured output benchmark, and its limits."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from benchmarks.random_model import RandomModel
from benchmarks.structured_output import Row, Trial, missed_bars
from onward_server.domain import JsonSchemaFormat, RegexFormat, ResponseFormat
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from testing.constraint_cases import Case, format_case
from testing.vocabularies import EOS_TOKEN_IDS, small_vocabulary

ROW = Row(
    vocabulary=512,
    group="schema",
    constraints=100,
    rejected=1,
    finished=500,
    truncated=166,
    truncated_share=0.25,
    invalid=0,
    stuck=0,
    tokens=1,
)
LARGE = replace(ROW, vocabulary=49_152, truncated_share=0.5)
TOO_LONG = JsonSchemaFormat(schema='{"type": "array", "items": {"type": "null"}, "minItems": 100}')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RandomModel]:
    directory = tmp_path_factory.mktemp("random")
    model = RandomModel(directory, small_vocabulary(), num_slots=4)
    yield model
    model.close()


def case(response_format: ResponseFormat, complaint: str | None = None) -> Case:
    return format_case("any", "any", response_format, lambda _: complaint)


def starved(_: GrammarCompiler) -> Grammar:
    """A constraint that costs more with each token than its budget allows."""
    limits = LLParserLimits(step_lexer_fuel=10, max_lexer_states=10)
    pattern = "start: /(a{1,9}b|b{1,9}c)*/"
    tokenizer = LLTokenizer(small_vocabulary().tokenizer_json, n_vocab=512, eos_token=sorted(EOS_TOKEN_IDS))
    return Grammar(lambda: LLMatcher(tokenizer, pattern, limits=limits, log_level=0), [], "regex")


def counted(model: RandomModel, *cases: Case, num_finished: int = 3) -> dict[str, int]:
    trial = Trial(model, cases, num_finished=num_finished, max_tokens=8)
    trial.run()
    return {name: count for name, count in trial.count.items() if name != "tokens"}


def test_outputs_that_match_their_constraints_are_counted_as_finished(model: RandomModel) -> None:
    texts: list[str] = []
    seen = format_case("any", "digits", RegexFormat(pattern="[0-9]{3}"), texts.append)
    assert counted(model, seen, num_finished=20) == {"finished": len(texts)}
    assert len(texts) >= 20
    assert len(set(texts)) > 10
    assert all(text.isdigit() and len(text) == 3 for text in texts)


def test_an_output_that_fails_its_check_is_invalid(model: RandomModel) -> None:
    count = counted(model, case(RegexFormat(pattern="[a-z]"), "no digit"))
    assert count["invalid"] == count["finished"] >= 3


def test_an_output_that_is_too_long_is_truncated(model: RandomModel) -> None:
    count = counted(model, case(TOO_LONG), case(RegexFormat(pattern="yes")))
    assert count["finished"] >= 3
    assert count["truncated"] >= 2


def test_if_no_output_finishes_ten_times_as_many_are_started(model: RandomModel) -> None:
    assert counted(model, case(TOO_LONG)) == {"truncated": 30}


def test_an_output_whose_constraint_fails_is_stuck(model: RandomModel) -> None:
    assert counted(model, Case("any", "starved", starved, lambda _: None))["stuck"] >= 1


def test_a_constraint_that_is_rejected_is_left_out(model: RandomModel) -> None:
    trial = Trial(model, [case(RegexFormat(pattern="(?=a)b"))], num_finished=3, max_tokens=8)
    trial.run()
    assert not trial.grammars
    assert not trial.count


def test_counts_just_within_the_limits_pass() -> None:
    assert not list(missed_bars([ROW, LARGE], 500))


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (replace(ROW, invalid=1), "1 invalid, 0 stuck"),
        (replace(ROW, stuck=1), "0 invalid, 1 stuck"),
        (replace(ROW, finished=499), "499 of 500 finished"),
        (replace(ROW, constraints=99), "99 schemas"),
        (replace(ROW, truncated_share=0.251), "25% truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_limit_that_is_exceeded_is_named(row: Row, missed: str) -> None:
    (bar,) = missed_bars([row, LARGE], 500)
    assert missed in bar


def test_other_groups_may_be_truncated_more_often() -> None:
    assert not list(missed_bars([ROW, LARGE, replace(ROW, group="regex", constraints=8, truncated_share=0.5)], 500))
