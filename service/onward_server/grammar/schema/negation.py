"""The schema of all values that do not match a schema, where the tree can express it."""

from collections.abc import Iterator, Sequence

from onward_server.grammar.schema.patterns import other_than
from onward_server.grammar.schema.tree import (
    AllOf,
    AnyOf,
    Anything,
    Array,
    Boolean,
    ByType,
    Enum,
    Never,
    Null,
    Number,
    Object,
    OfOneType,
    OneOf,
    Ref,
    Schema,
    Text,
)
from onward_server.json_value import Json


class _InexpressibleError(Exception):
    """The tree cannot express the negation."""


def negated(schema: Schema) -> Schema | None:
    """The negation; None: it cannot be expressed."""
    try:
        return _negated(schema)
    except _InexpressibleError:
        return None


def _negated(schema: Schema) -> Schema:
    match schema:
        case Anything(place=place):
            result: Schema = Never(place)
        case Never(place=place):
            result = Anything(place)
        case AllOf(place=place, demands=demands):
            result = AnyOf(place, tuple([_negated(demand) for demand in demands]))
        case AnyOf(place=place, choices=choices):
            result = AllOf(place, tuple([_negated(choice) for choice in choices]))
        case Enum(place=place, values=values):
            result = _any(place, [*_free(place, set(map(_node_type, values))), *_other_values(place, values)])
        case ByType(place=place, alternatives=alternatives):
            others = [other for alternative in alternatives for other in _others(alternative)]
            result = _any(place, [*_free(place, set(map(type, alternatives))), *others])
        case OneOf() | Ref():
            raise _InexpressibleError
        case _:
            result = _any(schema.place, [*_free(schema.place, {type(schema)}), *_others(schema)])
    return result


def _any(place: str, choices: Sequence[Schema]) -> Schema:
    return AnyOf(place, tuple(choices)) if len(choices) > 1 else choices[0] if choices else Never(place)


def _free(place: str, excluded: set[type]) -> list[Schema]:
    """All values of all other types."""
    types: tuple[OfOneType, ...] = (
        Null(place),
        Boolean(place),
        Number(place),
        Text(place),
        Array(place, Anything(place)),
        Object(place, Anything(place)),
    )
    kept = tuple(type_ for type_ in types if type(type_) not in excluded)
    return [ByType(place, kept)] if len(kept) > 1 else list(kept)


def _others(schema: OfOneType) -> Sequence[Schema]:
    """Schemas of the values of the type that do not match."""
    place = schema.place
    match schema:
        case Null() | Boolean():
            return []
        case Number(is_integer=False, multiple_of=None):
            below = Number(place, maximum=schema.minimum, excludes_maximum=not schema.excludes_minimum)
            above = Number(place, minimum=schema.maximum, excludes_minimum=not schema.excludes_maximum)
            return _given((schema.minimum, below), (schema.maximum, above))
        case Text(patterns=()):
            shorter = Text(place, max_length=schema.min_length - 1)
            return _given((schema.min_length or None, shorter), (schema.max_length, _longer(schema)))
        case Array(first=(), rest=Anything()):
            fewer = Array(place, schema.rest, max_items=schema.min_items - 1)
            return _given((schema.min_items or None, fewer), (schema.max_items, _longer(schema)))
        case Object(additional=Anything(), min_properties=0, max_properties=None) if not schema.patterns:
            absent = [Object(place, schema.additional, {name: Never(place)}) for name in schema.required]
            return [*absent, *_with_other_members(schema)]
        case _:
            raise _InexpressibleError


def _given(*sides: tuple[float | None, Schema]) -> list[Schema]:
    """The schemas of the sides that have a limit."""
    return [schema for limit, schema in sides if limit is not None]


def _longer(schema: Text | Array) -> Schema:
    match schema:
        case Text(place=place, max_length=most):
            return Text(place, min_length=(most or 0) + 1)
        case Array(place=place, max_items=most):
            return Array(place, schema.rest, min_items=(most or 0) + 1)


def _with_other_members(schema: Object) -> list[Schema]:
    return [
        Object(schema.place, schema.additional, {name: _negated(member)}, required=(name,))
        for name, member in schema.properties.items()
        if not isinstance(member, Anything)
    ]


def _node_type(value: Json) -> type:
    match value:
        case None:
            return Null
        case bool():
            return Boolean
        case str():
            return Text
        case _:
            raise _InexpressibleError


def _other_values(place: str, values: Sequence[Json]) -> Iterator[Schema]:
    """Schemas of the values of the types of the listed ones that are not listed."""
    if len(others := [value for value in (True, False) if value not in values]) == 1:
        yield Enum(place, tuple(others))
    if texts := [value for value in values if isinstance(value, str)]:
        yield Text(place, patterns=(other_than(texts),))
