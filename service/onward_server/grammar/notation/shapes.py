"""Splits a schema by the types of its values, because notations write each type differently."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

from onward_server.grammar.schema import tree
from onward_server.grammar.schema.disjoint import exclusive
from onward_server.grammar.schema.value_types import ALL_TYPES, types_of, value_types
from onward_server.grammar.values import canonical
from onward_server.json_value import Json

_MAX_DEPTH = 100
_MAX_ALTERNATIVES = 2000
_MAX_COMBINED = 500

_Node = TypeVar("_Node", tree.Number, tree.Text, tree.Array, tree.Object)
_Demands = tuple[tree.OfOneType | tree.ByType | tree.Enum, ...]
"""Schemas that a value must match, all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """Strings that satisfy every field; `TextShape()` allows every string."""

    choices: tuple[str, ...] | None = None
    """The allowed strings; None: any string."""
    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Shape:
    """The values that match a schema, grouped by type."""

    texts: list[TextShape] = field(default_factory=list[TextShape])
    words: set[str] = field(default_factory=set[str])
    """Values that are allowed one by one: null, true, false, and the numbers listed by enum and const; written as
    JSON."""
    free_numbers: set[str] = field(default_factory=set[str])
    """The types of numbers that are allowed without bounds."""
    has_bound_numbers: bool = False
    """Whether numbers are allowed that `free_numbers` does not cover: those with bounds or multipleOf."""
    arrays: list[tree.Array] = field(default_factory=list[tree.Array])
    objects: list[tree.Object] = field(default_factory=list[tree.Object])
    """Without patterns. `min_properties` is at most `len(required) + 1`. If `max_properties` is set, every named
    property is required."""
    constants: list[Json] = field(default_factory=list[Json])
    """The arrays and objects of enum and const."""

    @property
    def has_other_types(self) -> bool:
        """Whether any value is not a string."""
        return bool(
            self.words or self.free_numbers or self.has_bound_numbers or self.arrays or self.objects or self.constants
        )


def shape_of(schema: tree.Schema, document: tree.Document) -> Shape:
    """The shape of a schema, which may refer to definitions of the document.

    Raises:
        SchemaRejected: It combines schemas in a way that no notation can express.
    """
    shape = Shape()
    for demands in _alternatives(schema, document.definitions, 0):
        _add(shape, demands)
    return shape


def _alternatives(schema: tree.Schema, definitions: Mapping[str, tree.Schema], depth: int) -> list[_Demands]:
    """The schema as alternatives (its disjunctive normal form); a value matches if it matches one of them."""
    if depth > _MAX_DEPTH:
        raise tree.SchemaRejected(f"its references and combined schemas are nested more than {_MAX_DEPTH} deep")
    match schema:
        case tree.Anything():
            alternatives: list[_Demands] = [()]
        case tree.Never():
            alternatives = []
        case tree.Ref(name=name):
            alternatives = _alternatives(definitions[name], definitions, depth + 1)
        case tree.OneOf():
            alternatives = _alternatives(exclusive(schema, definitions), definitions, depth + 1)
        case tree.AnyOf(choices=choices):
            alternatives = [one for choice in choices for one in _alternatives(choice, definitions, depth + 1)]
        case tree.AllOf(demands=demands):
            alternatives = [()]
            for demand in demands:
                alternatives = _combined(alternatives, _alternatives(demand, definitions, depth + 1))
        case _:
            alternatives = [(schema,)]
    return alternatives


def _combined(alternatives: Sequence[_Demands], others: Sequence[_Demands]) -> list[_Demands]:
    limit = _MAX_COMBINED if min(len(alternatives), len(others)) > 1 else _MAX_ALTERNATIVES
    if len(alternatives) * len(others) > limit:
        num_combined = len(alternatives) * len(others)
        raise tree.SchemaRejected(f"its schemas combine to {num_combined} alternatives; at most {limit} are allowed")
    return [(*one, *other) for one, other in product(alternatives, others)]


def _add(shape: Shape, demands: _Demands) -> None:
    """Adds the values of one alternative."""
    types = ALL_TYPES.intersection(*map(types_of, demands))
    if any(isinstance(demand, tree.Enum) for demand in demands):
        _add_values(shape, demands, _listed(demands, types))
        return
    shape.words |= {"null"} & types | ({"true", "false"} if "boolean" in types else set[str]())
    if "integer" in types and _has_bounds(demands):
        shape.has_bound_numbers = True
    elif "integer" in types:
        shape.free_numbers.add("number" if "number" in types else "integer")
    if "string" in types:
        shape.texts += _texts(_nodes(tree.Text, demands), None)
    if "array" in types:
        shape.arrays += _arrays(_nodes(tree.Array, demands))
    if "object" in types:
        shape.objects += _objects(_nodes(tree.Object, demands))


def _add_values(shape: Shape, demands: _Demands, values: Sequence[Json]) -> None:
    """Adds those enum values that match the other demands."""
    shape.texts += _texts(_nodes(tree.Text, demands), tuple(value for value in values if isinstance(value, str)))
    nested = [value for value in values if isinstance(value, list | dict)]
    if nested and any(map(_restricts, (*_nodes(tree.Array, demands), *_nodes(tree.Object, demands)))):
        raise tree.SchemaRejected("arrays and objects in enum or const cannot be combined with other keywords")
    shape.constants += nested
    scalars = [value for value in values if not isinstance(value, str | list | dict)]
    if _has_bounds(demands) and any("number" in value_types(value) for value in scalars):
        shape.has_bound_numbers = True
        scalars = [value for value in scalars if "number" not in value_types(value)]
    shape.words |= set(map(canonical, scalars))


def _listed(demands: _Demands, types: frozenset[str]) -> list[Json]:
    """The values of these types that are in every enum."""
    first, *others = [demand.values for demand in demands if isinstance(demand, tree.Enum)]
    texts = [{canonical(value) for value in values} for values in others]
    values = {canonical(value): value for value in first if value_types(value) & types}
    return [value for key, value in values.items() if all(key in other for other in texts)]


def _nodes(kind: type[_Node], demands: _Demands) -> list[_Node]:
    """The nodes of one type in the demands."""
    nodes = [node for one in demands for node in (one.alternatives if isinstance(one, tree.ByType) else (one,))]
    return [node for node in nodes if isinstance(node, kind)]


def _has_bounds(demands: _Demands) -> bool:
    """Whether any demand restricts numbers by more than their type."""
    return any(number != tree.Number(number.place, number.is_integer) for number in _nodes(tree.Number, demands))


def _restricts(schema: tree.Array | tree.Object) -> bool:
    match schema:
        case tree.Array(place=place, rest=tree.Anything() as rest):
            return schema != tree.Array(place, rest)
        case tree.Object(place=place, additional=tree.Anything() as additional):
            return schema != tree.Object(place, additional)
        case _:
            return True


def _texts(demands: Sequence[tree.Text], choices: tuple[str, ...] | None) -> Iterator[TextShape]:
    least = max((text.min_length for text in demands), default=0)
    most = min((text.max_length for text in demands if text.max_length is not None), default=None)
    if choices is not None:
        choices = tuple(choice for choice in choices if least <= len(choice) and (most is None or len(choice) <= most))
    if choices != () and (most is None or least <= most):
        patterns = tuple(pattern for text in demands for pattern in text.patterns)
        yield TextShape(choices=choices, min_length=least, max_length=most, patterns=patterns)


def _arrays(demands: Sequence[tree.Array]) -> Iterator[tree.Array]:
    place = demands[0].place if demands else "#"
    least = max((array.min_items for array in demands), default=0)
    limits = [array.max_items for array in demands if array.max_items is not None]
    length = max((len(array.first) for array in demands), default=0)
    first = tuple(
        _all_of(place, [array.first[i] if i < len(array.first) else array.rest for array in demands])
        for i in range(length)
    )
    rest = _all_of(place, [array.rest for array in demands])
    limits += [index for index, item in enumerate((*first, rest)) if isinstance(item, tree.Never)]
    most = min(limits, default=None)
    if most is None or least <= most:
        yield tree.Array(place, rest, first, least, most)


def _objects(demands: Sequence[tree.Object]) -> Iterator[tree.Object]:
    if any(demand.patterns for demand in demands):
        raise tree.SchemaRejected("patternProperties cannot be enforced")
    place = demands[0].place if demands else "#"
    required = tuple(dict.fromkeys(name for demand in demands for name in demand.required))
    names = [name for demand in demands for name in demand.properties]
    properties = {
        name: _all_of(place, [demand.properties.get(name, demand.additional) for demand in demands])
        for name in dict.fromkeys((*names, *required))
    }
    if any(isinstance(properties[name], tree.Never) for name in required):
        return
    additional = _all_of(place, [demand.additional for demand in demands])
    least = max((demand.min_properties for demand in demands), default=0)
    most = min((demand.max_properties for demand in demands if demand.max_properties is not None), default=None)
    num_named = sum(not isinstance(schema, tree.Never) for schema in properties.values())
    is_closed = isinstance(additional, tree.Never)
    if least > max(1, len(required)) or (least > len(required) and not num_named and is_closed):
        raise tree.SchemaRejected("minProperties cannot be enforced with optional properties")
    if most is not None and is_closed and num_named <= most:
        most = None
    if most is not None and (num_named > len(required) or num_named > most):
        raise tree.SchemaRejected("maxProperties cannot be enforced with optional properties")
    yield tree.Object(place, additional, properties, {}, required, least, most)


def _all_of(place: str, schemas: Sequence[tree.Schema]) -> tree.Schema:
    """One schema that requires all of them."""
    demands = tuple(schema for schema in schemas if not isinstance(schema, tree.Anything))
    never = next((schema for schema in demands if isinstance(schema, tree.Never)), None)
    if never is not None or not demands:
        return never or tree.Anything(place)
    return demands[0] if len(demands) == 1 else tree.AllOf(place, demands)
