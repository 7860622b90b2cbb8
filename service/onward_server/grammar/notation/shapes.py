"""Takes a schema apart by the types of the values that it allows, each of which a notation writes in its own way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

from onward_server.grammar.schema.disjoint import exclusive
from onward_server.grammar.schema.tree import (
    AllOf,
    AnyOf,
    Anything,
    Array,
    ByType,
    Document,
    Enum,
    Never,
    Number,
    Object,
    OfOneType,
    OneOf,
    Ref,
    Schema,
    SchemaRejected,
    Text,
)
from onward_server.grammar.schema.value_types import ALL_TYPES, types_of, value_types
from onward_server.grammar.values import canonical
from onward_server.json_value import Json

_MAX_DEPTH = 100
_MAX_ALTERNATIVES = 2000
_MAX_COMBINED = 500

_Node = TypeVar("_Node", Number, Text, Array, Object)
_Leaf = OfOneType | ByType | Enum
_Demands = tuple[_Leaf, ...]
"""Schemas that all hold for one value; none of them combines others."""


class ShapeRejected(Exception):
    """The types of values cannot be told apart; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """Strings."""

    choices: tuple[str, ...] | None = None
    """None: any."""
    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether every string is allowed."""
        return self == TextShape()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectShape:
    """Objects."""

    properties: Mapping[str, Schema]
    """`Never`: the property must be absent."""
    required: frozenset[str]
    additional: Schema
    """The schema of all others; `Never`: there are no others."""
    max_additional: int | None
    needs_one: bool
    """Whether an object must have a property, though none is required."""


@dataclass(slots=True, kw_only=True)
class Shape:
    """The values that match a schema, by their types."""

    texts: list[TextShape] = field(default_factory=list[TextShape])
    words: set[str] = field(default_factory=set[str])
    """null, true, false and listed numbers, as JSON."""
    free_numbers: set[str] = field(default_factory=set[str])
    """Types of numbers of which every value matches."""
    has_bound_numbers: bool = False
    """Whether other numbers match that are not listed."""
    arrays: list[Array] = field(default_factory=list[Array])
    objects: list[ObjectShape] = field(default_factory=list[ObjectShape])
    constants: list[Json] = field(default_factory=list[Json])
    """Listed arrays and objects."""


def shape_of(schema: Schema, document: Document) -> Shape:
    """The shape of a schema, which may refer to definitions of the document.

    Raises:
        ShapeRejected: It combines schemas in a way that cannot be written down.
    """
    shape = Shape()
    for demands in _alternatives(schema, document.definitions, 0):
        _add(shape, demands)
    return shape


def _alternatives(schema: Schema, definitions: Mapping[str, Schema], depth: int) -> list[_Demands]:
    """The ways to match a schema, none of which leaves a choice between schemas."""
    if depth > _MAX_DEPTH:
        raise ShapeRejected("its references lead too far")
    match schema:
        case Anything():
            ways: list[_Demands] = [()]
        case Never():
            ways = []
        case Ref(name=name):
            ways = _alternatives(definitions[name], definitions, depth + 1)
        case OneOf():
            ways = _alternatives(_exclusive(schema, definitions), definitions, depth + 1)
        case AnyOf(choices=choices):
            ways = [way for choice in choices for way in _alternatives(choice, definitions, depth + 1)]
        case AllOf(demands=demands):
            ways = [()]
            for demand in demands:
                ways = _combined(ways, _alternatives(demand, definitions, depth + 1))
        case _:
            ways = [(schema,)]
    return ways


def _exclusive(schema: OneOf, definitions: Mapping[str, Schema]) -> Schema:
    try:
        return exclusive(schema, definitions)
    except SchemaRejected as error:
        raise ShapeRejected(str(error)) from error


def _combined(ways: Sequence[_Demands], others: Sequence[_Demands]) -> list[_Demands]:
    limit = _MAX_COMBINED if min(len(ways), len(others)) > 1 else _MAX_ALTERNATIVES
    if len(ways) * len(others) > limit:
        raise ShapeRejected("there are too many alternatives")
    return [(*one, *other) for one, other in product(ways, others)]


def _add(shape: Shape, demands: _Demands) -> None:
    """Adds the values of one way to match."""
    types = ALL_TYPES.intersection(*map(types_of, demands))
    if any(isinstance(demand, Enum) for demand in demands):
        _add_values(shape, demands, _listed(demands, types))
        return
    shape.words |= {"null"} & types | ({"true", "false"} if "boolean" in types else set[str]())
    if "integer" in types and _numbers(demands):
        shape.has_bound_numbers = True
    elif "integer" in types:
        shape.free_numbers.add("number" if "number" in types else "integer")
    if "string" in types:
        shape.texts += _texts(_only(Text, demands), None)
    if "array" in types:
        shape.arrays += _arrays(_only(Array, demands))
    if "object" in types:
        shape.objects += _objects(_only(Object, demands))


def _add_values(shape: Shape, demands: _Demands, values: Sequence[Json]) -> None:
    shape.texts += _texts(_only(Text, demands), tuple(value for value in values if isinstance(value, str)))
    nested = [value for value in values if isinstance(value, list | dict)]
    if nested and any(_restricts(one) for one in (*_only(Array, demands), *_only(Object, demands))):
        raise ShapeRejected("listed arrays or objects cannot have further keywords")
    shape.constants += nested
    scalars = [value for value in values if not isinstance(value, str | list | dict)]
    if _numbers(demands) and any("number" in value_types(value) for value in scalars):
        shape.has_bound_numbers = True
        scalars = [value for value in scalars if "number" not in value_types(value)]
    shape.words |= set(map(canonical, scalars))


def _listed(demands: _Demands, types: frozenset[str]) -> list[Json]:
    """The values of these types that every list holds."""
    first, *others = [demand.values for demand in demands if isinstance(demand, Enum)]
    texts = [{canonical(value) for value in values} for values in others]
    values = {canonical(value): value for value in first if value_types(value) & types}
    return [value for key, value in values.items() if all(key in other for other in texts)]


def _only(kind: type[_Node], demands: _Demands) -> list[_Node]:
    """The nodes of one type in the demands."""
    leaves = [leaf for demand in demands for leaf in (demand.alternatives if isinstance(demand, ByType) else (demand,))]
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def _numbers(demands: _Demands) -> bool:
    """Whether any demand restricts numbers by more than their type."""
    return any(number != Number(number.place, number.is_integer) for number in _only(Number, demands))


def _restricts(schema: Array | Object) -> bool:
    match schema:
        case Array():
            return schema != Array(schema.place, schema.rest) or not isinstance(schema.rest, Anything)
        case Object():
            return schema != Object(schema.place, schema.additional) or not isinstance(schema.additional, Anything)


def _texts(demands: Sequence[Text], choices: tuple[str, ...] | None) -> Iterator[TextShape]:
    least = max((text.min_length for text in demands), default=0)
    most = min((text.max_length for text in demands if text.max_length is not None), default=None)
    if choices is not None:
        choices = tuple(choice for choice in choices if least <= len(choice) and (most is None or len(choice) <= most))
    if choices == () or (most is not None and most < least):
        return
    patterns = tuple(pattern for text in demands for pattern in text.patterns)
    if choices is not None:
        yield TextShape(choices=choices, patterns=patterns)
    else:
        yield TextShape(min_length=least, max_length=most, patterns=patterns)


def _arrays(demands: Sequence[Array]) -> Iterator[Array]:
    place = demands[0].place if demands else "#"
    least = max((array.min_items for array in demands), default=0)
    limits = [array.max_items for array in demands if array.max_items is not None]
    length = max((len(array.first) for array in demands), default=0)
    first = tuple(
        _all_of(place, [array.first[i] if i < len(array.first) else array.rest for array in demands])
        for i in range(length)
    )
    rest = _all_of(place, [array.rest for array in demands])
    limits += [index for index, item in enumerate((*first, rest)) if isinstance(item, Never)]
    most = min(limits, default=None)
    if most is None or least <= most:
        yield Array(place, rest, first, least, most)


def _objects(demands: Sequence[Object]) -> Iterator[ObjectShape]:
    if any(demand.patterns for demand in demands):
        raise ShapeRejected("patternProperties cannot be enforced")
    place = demands[0].place if demands else "#"
    required = frozenset(name for demand in demands for name in demand.required)
    names = [name for demand in demands for name in demand.properties]
    names += [name for demand in demands for name in demand.required]
    properties = {
        name: _all_of(place, [demand.properties.get(name, demand.additional) for demand in demands])
        for name in dict.fromkeys(names)
    }
    if any(isinstance(properties[name], Never) for name in required):
        return
    additional = _all_of(place, [demand.additional for demand in demands])
    minimum = max((demand.min_properties for demand in demands), default=0)
    maximum = min((demand.max_properties for demand in demands if demand.max_properties is not None), default=None)
    num_named = sum(not isinstance(schema, Never) for schema in properties.values())
    is_closed = isinstance(additional, Never)
    if minimum > max(1, len(required)) or (minimum > len(required) and not num_named and is_closed):
        raise ShapeRejected("minProperties cannot be enforced with optional properties")
    yield ObjectShape(
        properties=properties,
        required=required,
        additional=additional,
        max_additional=_max_additional(maximum, len(required), num_named, is_closed=is_closed),
        needs_one=minimum > len(required),
    )


def _max_additional(maximum: int | None, num_required: int, num_named: int, *, is_closed: bool) -> int | None:
    if maximum is None or (is_closed and num_named <= maximum):
        return None
    if num_named > num_required or num_named > maximum:
        raise ShapeRejected("maxProperties cannot be enforced with optional properties")
    return maximum - num_named


def _all_of(place: str, schemas: Sequence[Schema]) -> Schema:
    """One schema for what all of them demand."""
    demands = tuple(schema for schema in schemas if not isinstance(schema, Anything))
    never = next((schema for schema in demands if isinstance(schema, Never)), None)
    if never is not None or not demands:
        return never or Anything(place)
    return demands[0] if len(demands) == 1 else AllOf(place, demands)
