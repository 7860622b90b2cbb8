"""Constraints hold with a real vocabulary, and the schemas of the JSON Schema test suite are enforced."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from onward_server.errors import InvalidRequest
from testing.constraint_cases import Case, call_cases, own_cases, schema_case
from testing.sampling import RandomSampler
from testing.text_cases import text_cases
from testing.vocabularies import Vocabulary

SUITE = "jsonschema/JSON-Schema-Test-Suite.tar.gz"


@pytest.fixture(scope="module")
def smollm2(data: Path) -> RandomSampler:
    text = (data / "tok-smollm2/tokenizer.json").read_text(encoding="utf-8")
    return RandomSampler(Vocabulary(text, 49_152, frozenset({0, 2})))


def complaints(sampler: RandomSampler, case: Case, *, num_outputs: int, max_tokens: int) -> list[str]:
    """What is wrong with the outputs that came to an end."""
    grammar = case.compile(sampler.compiler)
    outputs = [sampler.sample(grammar, max_tokens) for _ in range(num_outputs)]
    found = [(output.text, case.complaint(output.text)) for output in outputs if not output.is_truncated]
    return [f"{text!r}: {complaint}" for text, complaint in found if complaint]


def suite_cases(data: Path) -> Iterator[Case]:
    """The schemas of the suite for draft 2020-12, without those whose patterns Python cannot check."""
    with tarfile.open(data / SUITE) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None or not re.search(r"tests/draft2020-12/.*\.json$", member.name):
                continue
            for group in json.load(source):
                if "\\\\p{" not in json.dumps(group["schema"]):
                    yield schema_case("suite", f"{Path(member.name).stem}: {group['description']}", group["schema"])


def is_accepted(sampler: RandomSampler, case: Case) -> bool:
    try:
        case.compile(sampler.compiler)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda format_: format_.name)
def test_forced_calls_are_valid_where_no_marker_is_a_control_token(smollm2: RandomSampler, tools: ToolFormat) -> None:
    case = next(case for case in call_cases() if case.name == f"{tools.name}, one forced")
    assert not complaints(smollm2, case, num_outputs=3, max_tokens=200)


@pytest.mark.parametrize("case", [*own_cases(), *text_cases()], ids=lambda case: f"{case.kind}: {case.name}")
def test_outputs_with_a_large_vocabulary_are_valid(smollm2: RandomSampler, case: Case) -> None:
    assert not complaints(smollm2, case, num_outputs=1, max_tokens=400)


def test_what_is_accepted_of_the_json_schema_test_suite_is_enforced(data: Path) -> None:
    sampler = RandomSampler.small()
    accepted = [case for case in suite_cases(data) if is_accepted(sampler, case)]
    assert len(accepted) >= 100
    assert not [wrong for case in accepted for wrong in complaints(sampler, case, num_outputs=1, max_tokens=1024)]
