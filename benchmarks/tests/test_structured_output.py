"""What the benchmark of structured output counts, and what it does not let pass."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.random_model import RandomModel
from benchmarks.structured_output import Row, Trial, missed_bars
from onward_server.domain import JsonSchemaFormat, RegexFormat, ResponseFormat
from testing.constraint_cases import Case, format_case
from testing.vocabularies import small_vocabulary

ROW = Row(
    vocabulary=512,
    group="schema",
    constraints=100,
    refused=1,
    finished=500,
    cut=166,
    cut_share=0.25,
    invalid=0,
    stuck=0,
    tokens=1,
)
LARGE = replace(ROW, vocabulary=49_152, cut_share=0.5)
TOO_LONG = JsonSchemaFormat(schema='{"type": "array", "items": {"type": "null"}, "minItems": 100}')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RandomModel]:
    directory = tmp_path_factory.mktemp("random")
    model = RandomModel(directory, small_vocabulary(), num_slots=4)
    yield model
    model.close()


def case(response_format: ResponseFormat, complaint: str | None = None) -> Case:
    return format_case("any", "any", response_format, lambda _: complaint)


def counted(model: RandomModel, *cases: Case, num_finished: int = 3) -> dict[str, int]:
    trial = Trial(model, cases, num_finished=num_finished, max_tokens=8)
    trial.run()
    return {name: count for name, count in trial.count.items() if name != "tokens"}


def test_answers_that_keep_to_their_constraints_are_counted_as_finished(model: RandomModel) -> None:
    texts: list[str] = []
    seen = format_case("any", "digits", RegexFormat(pattern="[0-9]{3}"), texts.append)
    assert counted(model, seen, num_finished=20) == {"finished": len(texts)}
    assert len(texts) >= 20
    assert len(set(texts)) > 10
    assert all(text.isdigit() and len(text) == 3 for text in texts)


def test_an_answer_that_its_reader_does_not_take_is_invalid(model: RandomModel) -> None:
    count = counted(model, case(RegexFormat(pattern="[a-z]"), "no digit"))
    assert count["invalid"] == count["finished"] >= 3


def test_an_answer_that_is_too_long_is_truncated(model: RandomModel) -> None:
    count = counted(model, case(TOO_LONG), case(RegexFormat(pattern="yes")))
    assert count["finished"] >= 3
    assert count["cut"] >= 2


def test_where_no_answer_finishes_ten_times_as_many_are_begun(model: RandomModel) -> None:
    assert counted(model, case(TOO_LONG)) == {"cut": 30}


def test_an_answer_whose_constraint_dies_is_stuck(model: RandomModel) -> None:
    assert counted(model, case(RegexFormat(pattern="(a*b*)*" * 1000)))["stuck"] >= 1


def test_a_constraint_that_is_refused_is_left_out(model: RandomModel) -> None:
    trial = Trial(model, [case(RegexFormat(pattern="(?=a)b"))], num_finished=3, max_tokens=8)
    trial.run()
    assert not trial.grammars
    assert not trial.count


def test_what_is_just_within_the_bars_passes() -> None:
    assert not list(missed_bars([ROW, LARGE], 500))


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (replace(ROW, invalid=1), "1 invalid, 0 stuck"),
        (replace(ROW, stuck=1), "0 invalid, 1 stuck"),
        (replace(ROW, finished=499), "499 of 500 finished"),
        (replace(ROW, constraints=99), "99 schemas"),
        (replace(ROW, cut_share=0.251), "25% cut"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_beyond_a_bar_is_named(row: Row, missed: str) -> None:
    (bar,) = missed_bars([row, LARGE], 500)
    assert missed in bar


def test_other_groups_may_be_cut_more_often() -> None:
    assert not list(missed_bars([ROW, LARGE, replace(ROW, group="regex", constraints=8, cut_share=0.5)], 500))
