"""The schemas that the Python client makes of types are accepted here, and bind what they can."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from clients.python.tests.typed_values import BOUND, CHECKED
from onward_client.schemas import json_schema
from testing.constraint_cases import Case, schema_case
from testing.sampling import RandomSampler


@pytest.fixture(scope="module")
def small() -> RandomSampler:
    return RandomSampler.small()


def case_of(name: str, kind: Any) -> Case:  # noqa: ANN401 - a form of `typing`
    return schema_case("type", name, json_schema(kind))


@pytest.mark.parametrize("name", BOUND)
def test_sampled_outputs_can_be_read_as_their_type(small: RandomSampler, name: str) -> None:
    kind, _ = BOUND[name]
    case: Case = case_of(name, kind)
    adapter = TypeAdapter[Any](kind)

    for output in small.finished(case.compile(small.compiler), case, count=2, max_tokens=400):
        try:
            adapter.validate_json(output.text)
        except ValidationError as error:
            pytest.fail(f"{output.text!r} is allowed: {error}")


@pytest.mark.parametrize("name", CHECKED)
def test_a_type_with_rules_that_cannot_be_enforced_is_accepted(small: RandomSampler, name: str) -> None:
    kind, text = CHECKED[name]
    case = case_of(name, kind)

    assert small.finished(case.compile(small.compiler), case, count=1, max_tokens=400)
    assert case.complaint(json.dumps(json.loads(text))) is None
