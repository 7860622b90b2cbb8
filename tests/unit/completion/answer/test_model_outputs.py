"""Outputs of every tool format and reasoning format are parsed as their files say, however they are split."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from tests.output_cases import (
    SPLITS,
    OutputCase,
    assert_every_beginning_is_a_beginning,
    meaning_of,
    own_output_cases,
    split_at,
)

CASES = own_output_cases()


def test_there_are_ten_cases_or_more_for_every_tool_format() -> None:
    assert len(CASES) >= 100
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.output_format.reasoning for case in CASES} == {None, *REASONING_FORMATS}
    numbers = Counter(case.output_format.tools.name for case in CASES if case.output_format.tools)
    assert {format_.name: numbers[format_.name] for format_ in TOOL_FORMATS if numbers[format_.name] < 10} == {}


@pytest.mark.parametrize("format_", TOOL_FORMATS, ids=lambda format_: format_.name)
def test_every_tool_format_has_ten_cases_of_its_own(format_: ToolFormat) -> None:
    assert sum(case.output_format.tools is format_ for case in CASES) >= 10


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_output_is_parsed_as_its_file_says(case: OutputCase, split: str) -> None:
    output = case.parse(SPLITS[split](case.output))

    assert (meaning_of(output), output.invalid_tool_call) == (case.expected, case.invalid)


@settings(max_examples=400)
@given(data=st.data())
def test_an_output_means_the_same_in_any_pieces(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    ends = data.draw(st.sets(st.integers(1, max(1, len(case.output) - 1)), max_size=20))

    assert case.parse(split_at(case.output, ends)) == case.parse([case.output])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_output_that_is_truncated_anywhere_keeps_its_earlier_deltas(case: OutputCase) -> None:
    assert_every_beginning_is_a_beginning(case)
