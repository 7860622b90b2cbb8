"""The schemas of tests/data/schemas: every keyword and format in turn, with instances, or with what is rejected."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testing.constraint_cases import Case, schema_case

_DATA = Path(__file__).parents[1] / "tests/data/schemas"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordCase:
    """A schema that is accepted, with JSON texts that are valid or invalid."""

    name: str
    schema: Any
    valid: tuple[str, ...]
    invalid: tuple[str, ...]

    @property
    def constraint(self) -> Case:
        """The schema as a constraint on outputs, which may end as the valid strings do."""
        endings = tuple(text.removeprefix('"') for text in self.valid if len(text) > 2)
        return replace(schema_case("keyword", self.name, self.schema), endings=endings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSchema:
    """A schema that is rejected, and a pattern of the message, which names the place."""

    name: str
    schema: Any
    message: str


def accepted_schemas() -> list[KeywordCase]:
    return [
        KeywordCase(name=name, schema=entry["schema"], valid=_texts(entry["valid"]), invalid=_texts(entry["invalid"]))
        for name, entry in _entries()
        if "rejected" not in entry
    ]


def rejected_schemas() -> list[RejectedSchema]:
    return [
        RejectedSchema(name=name, schema=entry["schema"], message=entry["rejected"])
        for name, entry in _entries()
        if "rejected" in entry
    ]


def _entries() -> Iterator[tuple[str, Any]]:
    for path in sorted(_DATA.glob("*.json")):
        yield from json.loads(path.read_text(encoding="utf-8")).items()


def _texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(json.dumps(value, ensure_ascii=False) for value in values)
