"""The corpus of schemas is what it says, and the comparison finds no fault of the service in a part of it."""

import json
from collections.abc import Sequence

import pytest

from benchmarks.schemas.__main__ import Comparison, compare, missed_bars
from benchmarks.schemas.corpus import SchemaCase, corpus
from benchmarks.schemas.instances import mutations
from benchmarks.schemas.trial import Outcome

CASE = SchemaCase(name="family/case", schema="true", valid=("1",), invalid=())
RIGHT = Outcome(num_finished=1, cpu_s=[0.013])


def comparisons(onward: Outcome, llguidance: Outcome | None = None) -> Sequence[Comparison]:
    return [Comparison(CASE, onward, llguidance or Outcome(num_finished=1, cpu_s=[0.01]))]


def test_the_service_gets_a_family_of_schemas_right() -> None:
    found = compare(list(corpus("i18n")), rounds=1)
    assert len(found) >= 10
    assert all(one.onward.is_accepted and one.onward.num_finished for one in found)
    assert not [one.case.name for one in found if one.onward.is_wrong]


def test_cases_stay_the_same_and_their_instances_differ() -> None:
    cases = list(corpus("tools/search"))
    assert cases == list(corpus("tools/search"))
    assert all(case.valid and case.invalid for case in cases)
    assert not [case.name for case in cases if set(case.valid) & set(case.invalid)]


def test_a_mutation_differs_from_the_value_in_one_place() -> None:
    found = [json.dumps(value) for value in mutations({"a": [1], "b": "x"})]
    assert '{"a": [1]}' in found
    assert '{"a": [2], "b": "x"}' in found
    assert '{"a": [1], "b": "X"}' in found
    assert '{"a": [1], "b": "x"}' not in found


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (comparisons(Outcome(rejection="no")), "0 of 1 schemas accepted, less than 95%"),
        (comparisons(Outcome(num_finished=1, valid_rejected=["1"])), "family/case: valid rejected: 1"),
        (comparisons(Outcome(num_finished=1, invalid_accepted=["2"])), "family/case: invalid accepted: 2"),
        (comparisons(Outcome(num_finished=1, died=["[1"])), "family/case: died after: [1"),
        (comparisons(Outcome()), "family/case: no sampled output finished"),
        (comparisons(Outcome(num_finished=1, cpu_s=[0.0131])), "1.31 times llguidance's processor time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_beyond_a_bar_is_named(found: Sequence[Comparison], missed: str) -> None:
    assert any(missed in bar for bar in missed_bars(found))


def test_what_is_just_within_the_bars_passes() -> None:
    assert not list(missed_bars(comparisons(RIGHT)))
