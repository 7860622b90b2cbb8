"""Answers drawn from random logits keep to their constraints, whatever the kind; none is stuck."""

import pytest

from service.errors import InvalidRequest
from tests.constraint_cases import SUITE, Case, own_cases, suite_cases
from tests.drawing import SMOLLM2, RandomWriter


@pytest.fixture(scope="module")
def small() -> RandomWriter:
    return RandomWriter.small()


@pytest.fixture(scope="module")
def smollm2() -> RandomWriter:
    return RandomWriter.smollm2()


def complaints(writer: RandomWriter, case: Case, *, num_answers: int, max_tokens: int) -> list[str]:
    """What is wrong with the answers that came to an end."""
    grammar = case.compile(writer.compiler)
    answers = [writer.draw(grammar, max_tokens) for _ in range(num_answers)]
    found = [(answer.text, case.complaint(answer.text)) for answer in answers if not answer.is_cut]
    return [f"{text!r}: {complaint}" for text, complaint in found if complaint]


def is_accepted(writer: RandomWriter, case: Case) -> bool:
    try:
        case.compile(writer.compiler)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("case", own_cases(), ids=lambda case: f"{case.kind}: {case.name}"[:60])
def test_answers_with_a_small_vocabulary_are_valid(small: RandomWriter, case: Case) -> None:
    assert not complaints(small, case, num_answers=3, max_tokens=1024)


@pytest.mark.skipif(not SMOLLM2.exists(), reason="../shared/data is not there")
@pytest.mark.parametrize("case", own_cases(), ids=lambda case: f"{case.kind}: {case.name}"[:60])
def test_answers_with_a_large_vocabulary_are_valid(smollm2: RandomWriter, case: Case) -> None:
    assert not complaints(smollm2, case, num_answers=1, max_tokens=60)


@pytest.mark.skipif(not SUITE.exists(), reason="../shared/data is not there")
def test_what_is_accepted_of_the_json_schema_test_suite_is_enforced(small: RandomWriter) -> None:
    accepted = [case for case in suite_cases() if is_accepted(small, case)]
    assert len(accepted) >= 100
    assert not [wrong for case in accepted for wrong in complaints(small, case, num_answers=1, max_tokens=1024)]
