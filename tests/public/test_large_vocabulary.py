"""With SmolLM2's tokenizer, sampled outputs satisfy their constraints."""

from pathlib import Path

import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from testing.call_cases import call_cases
from testing.constraint_cases import Case, own_cases
from testing.sampling import RandomSampler
from testing.text_cases import text_cases
from testing.vocabularies import Vocabulary


@pytest.fixture(scope="module")
def sampler(data: Path) -> RandomSampler:
    text = (data / "tok-smollm2/tokenizer.json").read_text(encoding="utf-8")
    return RandomSampler(Vocabulary(text, 49_152, frozenset({0, 2})))


def assert_outputs_are_valid(sampler: RandomSampler, case: Case, *, count: int) -> None:
    outputs = sampler.finished(case.compile(sampler.compiler), case, count=count, max_tokens=400)
    assert not [(output.text, found) for output in outputs if (found := case.complaint(output.text))]


@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: case.full_name)
def test_outputs_are_valid(sampler: RandomSampler, case: Case) -> None:
    assert_outputs_are_valid(sampler, case, count=1)


@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda format_: format_.name)
def test_forced_calls_are_valid_where_no_marker_is_a_control_token(sampler: RandomSampler, tools: ToolFormat) -> None:
    case = next(case for case in call_cases() if case.name == f"{tools.name}, one forced")
    assert_outputs_are_valid(sampler, case, count=3)
