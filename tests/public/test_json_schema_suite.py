"""What the service accepts of the JSON Schema test suite, it enforces."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import Grammar
from testing.constraint_cases import Case, schema_case
from testing.sampling import RandomSampler

_MIN_ACCEPTED = 100


@pytest.fixture(scope="module")
def sampler() -> RandomSampler:
    return RandomSampler.small()


@pytest.fixture(scope="module")
def accepted(data: Path, sampler: RandomSampler) -> list[tuple[Case, Grammar]]:
    """The schemas that are accepted, compiled."""
    found: list[tuple[Case, Grammar]] = []
    for case in _cases(data / "jsonschema/JSON-Schema-Test-Suite.tar.gz"):
        try:
            found.append((case, case.compile(sampler.compiler)))
        except InvalidRequest:
            continue
    return found


def _cases(path: Path) -> Iterator[Case]:
    """The schemas for draft 2020-12, but those whose patterns Python's `re` cannot check."""
    with tarfile.open(path) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None or not re.search(r"tests/draft2020-12/.*\.json$", member.name):
                continue
            for group in json.load(source):
                if "\\\\p{" not in json.dumps(group["schema"]):
                    name = f"{Path(member.name).stem}: {group['description']}"
                    yield schema_case("suite", name, group["schema"])


def test_at_least_a_hundred_schemas_are_accepted(accepted: list[tuple[Case, Grammar]]) -> None:
    assert len(accepted) >= _MIN_ACCEPTED


def test_sampled_outputs_are_valid(accepted: list[tuple[Case, Grammar]], sampler: RandomSampler) -> None:
    outputs = [
        (case, output.text)
        for case, grammar in accepted
        for output in sampler.finished(grammar, case, count=1, max_tokens=400)
    ]
    assert not [(case.name, text, found) for case, text in outputs if (found := case.complaint(text))]
