"""Every keyword and format of a schema is enforced, or rejected at its place."""

import json

import pytest

from onward_server.domain import JsonSchemaFormat
from onward_server.errors import InvalidRequest
from testing.keyword_cases import KeywordCase, RejectedSchema, accepted_schemas, rejected_schemas
from testing.sampling import RandomSampler


@pytest.fixture(scope="module")
def sampler() -> RandomSampler:
    return RandomSampler.small()


@pytest.mark.parametrize("case", accepted_schemas(), ids=lambda case: case.name)
def test_valid_json_is_allowed_and_invalid_json_is_not(sampler: RandomSampler, case: KeywordCase) -> None:
    grammar = case.constraint.compile(sampler.compiler)
    assert [text for text in case.valid + case.invalid if sampler.allows(grammar, text)] == list(case.valid)


@pytest.mark.parametrize("case", accepted_schemas(), ids=lambda case: case.name)
def test_sampled_outputs_are_valid(sampler: RandomSampler, case: KeywordCase) -> None:
    constraint = case.constraint
    outputs = sampler.finished(constraint.compile(sampler.compiler), constraint, count=2, max_tokens=400)
    found = [(output.text, constraint.complaint(output.text)) for output in outputs]
    assert not [(text, complaint) for text, complaint in found if complaint]


@pytest.mark.parametrize("case", accepted_schemas(), ids=lambda case: case.name)
def test_the_instances_agree_with_the_jsonschema_package(case: KeywordCase) -> None:
    complaint = case.constraint.complaint
    assert [text for text in case.valid + case.invalid if complaint(text) is None] == list(case.valid)


@pytest.mark.parametrize("case", rejected_schemas(), ids=lambda case: case.name)
def test_an_error_gives_the_place_of_what_cannot_be_enforced(sampler: RandomSampler, case: RejectedSchema) -> None:
    with pytest.raises(InvalidRequest, match=case.message):
        sampler.compile(JsonSchemaFormat(schema=json.dumps(case.schema)))
