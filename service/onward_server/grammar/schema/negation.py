"""Negates a schema: finds the schema of all values that do not match it, if the tree can express that."""

from collections.abc import Iterator, Sequence

from onward_server.grammar.schema import tree
from onward_server.grammar.schema.patterns import other_than
from onward_server.grammar.schema.value_types import ALL_TYPES, types_of
from onward_server.json_value import Json


class _InexpressibleError(Exception):
    """The tree cannot express the negation."""


def negated(schema: tree.Schema) -> tree.Schema | None:
    """The negation; None if the tree cannot express it."""
    try:
        return _negated(schema)
    except _InexpressibleError:
        return None


def _negated(schema: tree.Schema) -> tree.Schema:
    place = schema.place
    match schema:
        case tree.Anything():
            result: tree.Schema = tree.Never(place)
        case tree.Never():
            result = tree.Anything(place)
        case tree.AllOf(demands=demands):
            result = tree.AnyOf(place, tuple([_negated(demand) for demand in demands]))
        case tree.AnyOf(choices=choices):
            result = tree.AllOf(place, tuple([_negated(choice) for choice in choices]))
        case tree.OneOf() | tree.Ref():
            raise _InexpressibleError
        case tree.Enum(values=values):
            result = _any(place, [*_other_types(schema), *_other_values(place, values)])
        case tree.ByType(alternatives=alternatives):
            others = [other for alternative in alternatives for other in _others(alternative)]
            result = _any(place, [*_other_types(schema), *others])
        case _:
            result = _any(place, [*_other_types(schema), *_others(schema)])
    return result


def _any(place: str, choices: Sequence[tree.Schema]) -> tree.Schema:
    return tree.AnyOf(place, tuple(choices)) if len(choices) > 1 else choices[0] if choices else tree.Never(place)


def _other_types(schema: tree.ByType | tree.Enum | tree.OfOneType) -> list[tree.Schema]:
    """All values of the types that a schema does not allow."""
    types = ALL_TYPES - types_of(schema)
    return [tree.of_types(types)] if types else []


def _others(schema: tree.OfOneType) -> Sequence[tree.Schema]:
    """Schemas of the values of the same type that do not match."""
    place = schema.place
    match schema:
        case tree.Null() | tree.Boolean():
            return []
        case tree.Number(is_integer=False, multiple_of=None, minimum=least, maximum=most):
            below = tree.Number(place, maximum=least, excludes_maximum=not schema.excludes_minimum)
            above = tree.Number(place, minimum=most, excludes_minimum=not schema.excludes_maximum)
            return _given((least, below), (most, above))
        case tree.Text(patterns=(), min_length=least, max_length=most):
            shorter, longer = tree.Text(place, max_length=least - 1), tree.Text(place, min_length=(most or 0) + 1)
            return _given((least or None, shorter), (most, longer))
        case tree.Array(first=(), rest=tree.Anything() as rest, min_items=least, max_items=most):
            fewer, more = (
                tree.Array(place, rest, max_items=least - 1),
                tree.Array(place, rest, min_items=(most or 0) + 1),
            )
            return _given((least or None, fewer), (most, more))
        case tree.Object(additional=tree.Anything() as any_, min_properties=0, max_properties=None) if (
            not schema.patterns
        ):
            absent = [tree.Object(place, any_, {name: tree.Never(place)}) for name in schema.required]
            different = [
                tree.Object(place, any_, {name: _negated(member)}, required=(name,))
                for name, member in schema.properties.items()
                if not isinstance(member, tree.Anything)
            ]
            return [*absent, *different]
        case _:
            raise _InexpressibleError


def _given(*sides: tuple[float | None, tree.Schema]) -> list[tree.Schema]:
    """The schema of each pair whose limit is set."""
    return [schema for limit, schema in sides if limit is not None]


def _other_values(place: str, values: Sequence[Json]) -> Iterator[tree.Schema]:
    """Schemas of the values that an enum does not list but that have the type of a listed one."""
    if not all(value is None or isinstance(value, bool | str) for value in values):
        raise _InexpressibleError
    if len(others := [value for value in (True, False) if value not in values]) == 1:
        yield tree.Enum(place, tuple(others))
    if texts := [value for value in values if isinstance(value, str)]:
        yield tree.Text(place, patterns=(other_than(texts),))
