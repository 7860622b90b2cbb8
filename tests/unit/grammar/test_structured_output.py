"""Answers drawn from random logits, of a model that knows nothing, keep to their constraints; none is stuck."""

from random import Random

import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.domain import JsonSchemaFormat, RegexFormat
from onward_server.errors import InvalidRequest
from testing.constraint_cases import SUITE, Case, call_cases, forced_case, marked_call_cases, own_cases, suite_cases
from testing.random_schemas import random_schema
from testing.sampling import SMOLLM2, RandomSampler
from testing.text_cases import text_cases
from testing.vocabularies import CONTROL_TOKENS


@pytest.fixture(scope="module")
def small() -> RandomSampler:
    return RandomSampler.small()


@pytest.fixture(scope="module")
def smollm2() -> RandomSampler:
    return RandomSampler.smollm2()


def complaints(writer: RandomSampler, case: Case, *, num_answers: int, max_tokens: int) -> list[str]:
    """What is wrong with the answers that came to an end."""
    grammar = case.compile(writer.compiler)
    answers = [writer.sample(grammar, max_tokens, case.phrases) for _ in range(num_answers)]
    found = [(answer.text, case.complaint(answer.text)) for answer in answers if not answer.is_truncated]
    return [f"{text!r}: {complaint}" for text, complaint in found if complaint]


def is_accepted(writer: RandomSampler, case: Case) -> bool:
    try:
        case.compile(writer.compiler)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: f"{case.kind}: {case.name}")
def test_answers_with_a_small_vocabulary_are_valid(small: RandomSampler, case: Case) -> None:
    assert not complaints(small, case, num_answers=3, max_tokens=1024)


@pytest.mark.parametrize("case", call_cases(), ids=lambda case: case.name)
def test_what_is_read_of_an_answer_that_may_call_tools_keeps_to_their_schemas(small: RandomSampler, case: Case) -> None:
    assert not complaints(small, case, num_answers=2, max_tokens=1024)


@pytest.mark.parametrize("case", marked_call_cases(), ids=lambda case: case.name)
def test_no_mark_leads_out_of_a_constraint(small: RandomSampler, case: Case) -> None:
    """Control tokens, whole and spelled out, and calls that keep to no schema are written wherever they may stand."""
    assert not complaints(small, case, num_answers=4, max_tokens=200)


@pytest.mark.parametrize("tools", [HERMES, QWEN3_CODER, GEMMA4], ids=lambda format_: format_.name)
def test_calls_are_valid_whatever_their_schema_combines(small: RandomSampler, tools: ToolFormat) -> None:
    random = Random(0)
    cases = [forced_case(str(number), tools, random_schema(random)) for number in range(300)]
    accepted = [case for case in cases if is_accepted(small, case)]
    assert len(accepted) >= 100
    assert not [wrong for case in accepted for wrong in complaints(small, case, num_answers=2, max_tokens=80)]


@pytest.mark.skipif(not SMOLLM2.exists(), reason="../shared/data is not there")
@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda format_: format_.name)
def test_forced_calls_are_valid_where_no_mark_is_a_control_token(smollm2: RandomSampler, tools: ToolFormat) -> None:
    case = next(case for case in call_cases() if case.name == f"{tools.name}, one forced")
    assert not complaints(smollm2, case, num_answers=3, max_tokens=200)


def test_control_tokens_are_never_part_of_a_string(small: RandomSampler) -> None:
    grammar = small.compile(JsonSchemaFormat(schema='{"type": "string", "minLength": 200}'))
    assert not any(mark in small.sample(grammar).text for mark in CONTROL_TOKENS)
    assert not small.allows(small.compile(RegexFormat(pattern="[a-z<>|]{7}")), "<|end|>")


@pytest.mark.skipif(not SMOLLM2.exists(), reason="../shared/data is not there")
@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: f"{case.kind}: {case.name}")
def test_answers_with_a_large_vocabulary_are_valid(smollm2: RandomSampler, case: Case) -> None:
    assert not complaints(smollm2, case, num_answers=1, max_tokens=60)


@pytest.mark.skipif(not SUITE.exists(), reason="../shared/data is not there")
def test_what_is_accepted_of_the_json_schema_test_suite_is_enforced(small: RandomSampler) -> None:
    accepted = [case for case in suite_cases() if is_accepted(small, case)]
    assert len(accepted) >= 100
    assert not [wrong for case in accepted for wrong in complaints(small, case, num_answers=1, max_tokens=1024)]
