"""Mutations of a JSON value: each differs from it in one place."""

from collections.abc import Iterator

from benchmarks.schemas.json_value import Json, is_array, is_object

_OTHER_SCALARS: tuple[Json, ...] = (None, True, "x", -1, 0.5, 123456789, [], {})


def mutations(value: Json) -> Iterator[Json]:
    """Every value with one part removed, added or replaced; properties keep their order, new ones come last."""
    yield from _replacements(value)
    if is_object(value):
        yield from _object_mutations(value)
    elif is_array(value):
        yield from _array_mutations(value)


def _replacements(value: Json) -> Iterator[Json]:
    """Values of other types, and similar values of the same type."""
    yield from (other for other in _OTHER_SCALARS if type(other) is not type(value))
    match value:
        case bool() | None:
            pass
        case int():
            yield from (value + 1, value - 1, -value, value * 1000 + 7)
        case float():
            # Python writes smaller numbers with an exponent, which a grammar of numbers with bounds does not allow.
            yield from (other for other in (-value, value / 8, value * 3) if abs(other) > 0.001)
        case str():
            yield from (f"{value}x", value[:-1], value.swapcase(), f" {value}", f"{value}!{value}", value * 12)
        case _:
            pass


def _object_mutations(value: dict[str, Json]) -> Iterator[Json]:
    for name, part in value.items():
        yield {key: other for key, other in value.items() if key != name}
        yield from ({**value, name: mutated} for mutated in mutations(part))
    yield {**value, "unexpected_name": 1}
    yield {**value, "unexpected_name": "text"}


def _array_mutations(value: list[Json]) -> Iterator[Json]:
    for index, part in enumerate(value):
        yield [*value[:index], *value[index + 1 :]]
        yield from ([*value[:index], mutated, *value[index + 1 :]] for mutated in mutations(part))
    yield from ([*value, other] for other in (None, "x", 3))
    if value:
        yield [*value, value[-1]]
        yield value * 8


def strings(value: Json) -> Iterator[str]:
    """The strings in a value, names of properties aside."""
    if isinstance(value, str):
        yield value
    elif is_array(value) or is_object(value):
        for part in value.values() if is_object(value) else value:
            yield from strings(part)
