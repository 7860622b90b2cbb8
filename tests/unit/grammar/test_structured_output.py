"""Outputs sampled from random logits satisfy their constraints, and every case finishes at least one."""

from random import Random

import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.domain import JsonSchemaFormat, RegexFormat
from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import Grammar
from testing.call_cases import call_cases, forced_call_case, marker_call_cases
from testing.constraint_cases import Case, own_cases
from testing.random_schemas import random_schema
from testing.sampling import RandomSampler
from testing.text_cases import text_cases
from testing.vocabularies import CONTROL_TOKENS

_MAX_SCHEMAS = 20
"""How many random schemas are tried until one is accepted; about two in three are accepted."""


@pytest.fixture(scope="module")
def small() -> RandomSampler:
    return RandomSampler.small()


@pytest.fixture(scope="module")
def large() -> RandomSampler:
    return RandomSampler.large()


def assert_outputs_are_valid(sampler: RandomSampler, case: Case, *, count: int, max_tokens: int) -> None:
    """Samples outputs, checks each finished one, and fails if none finishes."""
    check(sampler, case, case.compile(sampler.compiler), count=count, max_tokens=max_tokens)


def check(sampler: RandomSampler, case: Case, grammar: Grammar, *, count: int, max_tokens: int) -> None:
    outputs = sampler.finished(grammar, case, count=count, max_tokens=max_tokens)
    found = [(output.text, case.complaint(output.text)) for output in outputs]
    assert not [(text, complaint) for text, complaint in found if complaint]


@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: case.full_name)
def test_outputs_with_a_small_vocabulary_are_valid(small: RandomSampler, case: Case) -> None:
    assert_outputs_are_valid(small, case, count=3, max_tokens=1024)


@pytest.mark.parametrize("case", call_cases(), ids=lambda case: case.name)
def test_tool_calls_in_an_output_satisfy_the_schemas_of_their_tools(small: RandomSampler, case: Case) -> None:
    assert_outputs_are_valid(small, case, count=2, max_tokens=1024)


@pytest.mark.parametrize("case", marker_call_cases(), ids=lambda case: case.name)
def test_no_marker_lets_an_output_evade_its_constraint(small: RandomSampler, case: Case) -> None:
    """Samples control tokens, whole or spelled out, and calls that violate their schema, wherever allowed."""
    assert_outputs_are_valid(small, case, count=3, max_tokens=400)


@pytest.mark.parametrize("number", range(200))
@pytest.mark.parametrize("tools", [HERMES, QWEN3_CODER, GEMMA4], ids=lambda format_: format_.name)
def test_calls_are_valid_for_schemas_that_combine_others(small: RandomSampler, tools: ToolFormat, number: int) -> None:
    random = Random(f"{tools.name} {number}")
    for _ in range(_MAX_SCHEMAS):
        case = forced_call_case(f"{tools.name} {number}", tools, random_schema(random))
        try:
            grammar = case.compile(small.compiler)
        except InvalidRequest:
            continue
        check(small, case, grammar, count=2, max_tokens=300)
        return
    pytest.fail(f"none of {_MAX_SCHEMAS} schemas is accepted")


@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda format_: format_.name)
def test_forced_calls_are_valid_where_no_marker_is_a_control_token(large: RandomSampler, tools: ToolFormat) -> None:
    case = next(case for case in call_cases() if case.name == f"{tools.name}, one forced")
    assert_outputs_are_valid(large, case, count=3, max_tokens=400)


def test_control_tokens_are_never_part_of_a_string(small: RandomSampler) -> None:
    grammar = small.compile(JsonSchemaFormat(schema='{"type": "string", "minLength": 200}'))
    texts = [small.sample(grammar, seed=seed).text for seed in range(5)]
    assert not any(marker in text for marker in CONTROL_TOKENS for text in texts)
    assert not small.allows(small.compile(RegexFormat(pattern="[a-z<>|]{7}")), "<|end|>")


@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: case.full_name)
def test_outputs_with_a_large_vocabulary_are_valid(large: RandomSampler, case: Case) -> None:
    assert_outputs_are_valid(large, case, count=1, max_tokens=400)
