"""A schema with instances, from which the corpus is made."""

from dataclasses import dataclass

from benchmarks.schemas.json_value import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Seed:
    """A schema and instances of it."""

    schema: JsonObject
    valid: tuple[Json, ...]
    invalid: tuple[Json, ...] = ()
