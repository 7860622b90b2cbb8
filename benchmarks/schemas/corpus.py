"""The corpus: schemas written by hand, variations of them, and JSON that is valid or invalid against each.

The seeds in data/*.json are ours; `variations` wraps, respells and composes them. Every case has a generator of its
own, seeded by its name, so that a new case changes no other.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from zlib import crc32

from benchmarks.schemas.instances import mutations, strings
from benchmarks.schemas.json_value import Json
from benchmarks.schemas.large import LARGE
from benchmarks.schemas.seed import Seed
from benchmarks.schemas.variations import VARIATIONS, partner_names
from testing.json_validation import complaint, schema_validator

_DATA = Path(__file__).parent / "data"
_UNVARIED = "limits"
"""The family of features that few schemas use; a variation would have the same feature and tell nothing new."""
_VARIATIONS_OF_EACH = 3
_MAX_MUTATIONS = 24
_MAX_VALID, _MAX_INVALID = 10, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaCase:
    """A schema with instances, as JSON texts in the default spelling of `json.dumps`."""

    name: str
    schema: str
    valid: tuple[str, ...]
    """At least one; properties come in the order of the schema."""
    invalid: tuple[str, ...]

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    @property
    def endings(self) -> list[str]:
        """The strings of the first valid instance, each up to its closing quote."""
        return [f"{json.dumps(text, ensure_ascii=False)[1:]}" for text in strings(json.loads(self.valid[0]))][:12]


class CorpusError(Exception):
    """An instance of the corpus is not as valid or invalid as its schema says."""


def seeds() -> dict[str, Seed]:
    """The handwritten schemas, by family and name."""
    return {
        f"{path.stem}/{name}": Seed(entry["schema"], tuple(entry["valid"]), tuple(entry["invalid"]))
        for path in sorted(_DATA.glob("*.json"))
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
    }


def corpus(prefix: str = "") -> Iterator[SchemaCase]:
    """All cases whose names begin with a prefix, those of one family after each other; all take half a minute.

    Raises:
        CorpusError: A handwritten instance is wrongly marked valid or invalid, or a case has no valid instance.
    """
    written = seeds()
    for name, seed in written.items():
        if name.startswith(prefix):
            yield _case(name, seed)
        if not name.startswith(_UNVARIED) and name.startswith(prefix[: len(name)]):
            for varied_name, varied in _variations(name, seed, written):
                if varied_name.startswith(prefix):
                    yield _case(varied_name, varied, is_written=False)
    for name, make in LARGE.items():
        if name.startswith(prefix):
            yield _case(name, make(_random(name)), is_written=False)


def _random(name: str) -> Random:
    return Random(crc32(name.encode()))


def _variations(name: str, seed: Seed, written: dict[str, Seed]) -> Iterator[tuple[str, Seed]]:
    names = sorted(VARIATIONS, key=lambda variation: crc32(f"{name}/{variation}".encode()))
    partners = [written[partner] for partner in partner_names(name)]
    found = 0
    for variation in names:
        varied = VARIATIONS[variation](_random(f"{name}/{variation}"), seed, partners)
        if varied is not None and varied.schema != seed.schema:
            yield f"{name}/{variation}", varied
            found += 1
        if found == _VARIATIONS_OF_EACH:
            return


def _case(name: str, seed: Seed, *, is_written: bool = True) -> SchemaCase:
    """Checks the instances of a seed, and adds mutations of the valid ones."""
    validator = schema_validator(seed.schema)

    def are_valid(values: Sequence[Json], *, expected: bool) -> list[str]:
        texts = [json.dumps(value, ensure_ascii=False) for value in values]
        kept = [text for text in texts if (complaint(validator, text) is None) is expected]
        if is_written and kept != texts:
            raise CorpusError(f"{name}: {set(texts) - set(kept)} should be {'valid' if expected else 'invalid'}")
        return kept

    valid, invalid = are_valid(seed.valid, expected=True), are_valid(seed.invalid, expected=False)
    if not valid:
        raise CorpusError(f"{name}: no instance is valid")
    random = _random(f"{name}, mutations")
    mutated = [value for start in valid for value in mutations(json.loads(start))]
    for value in random.sample(mutated, min(len(mutated), _MAX_MUTATIONS)):
        text = json.dumps(value, ensure_ascii=False)
        (valid if complaint(validator, text) is None else invalid).append(text)
    return SchemaCase(
        name=name,
        schema=json.dumps(seed.schema, ensure_ascii=False),
        valid=tuple(dict.fromkeys(valid))[:_MAX_VALID],
        invalid=tuple(dict.fromkeys(invalid))[:_MAX_INVALID],
    )
