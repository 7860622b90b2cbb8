"""Takes schemas apart, after their rewriting, into what they say of each type of value; it writes no grammar."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from onward_server.grammar.combinations import MAX_WAYS
from onward_server.grammar.schema_types import ALL_TYPES, declared_types, listed_values, value_types
from onward_server.grammar.values import Json, JsonObject, canonical

_MAX_DEPTH = 100
_MAX_ALTERNATIVES = 2000
_NUMBER_KEYWORDS = frozenset({"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"})
_ARRAY_KEYWORDS = frozenset({"prefixItems", "items", "minItems", "maxItems"})
_OBJECT_KEYWORDS = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}
)

_Demands = tuple[JsonObject, ...]
"""Keywords that all hold for one value; none of them combines schemas."""


class ShapeRefused(Exception):
    """What a schema says cannot be told apart by the types of values; the message says why."""


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
        """Whether it lets in every string."""
        return self.choices is None and not self.min_length and self.max_length is None and not self.patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayShape:
    """Lists."""

    first: tuple[Json, ...]
    """Schemas of the first items."""
    rest: Json
    """The schema of those that follow."""
    min_items: int
    max_items: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectShape:
    """Objects."""

    properties: Mapping[str, Json]
    """Schemas by name; False: there must be none of that name."""
    required: frozenset[str]
    additional: Json
    """The schema of all others; False: there are none."""
    max_additional: int | None
    needs_one: bool
    """Whether there must be a property, though none is required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What values match a schema, by their types."""

    texts: tuple[TextShape, ...]
    words: frozenset[str]
    """null, true, false and numbers that are listed, as JSON."""
    free_numbers: frozenset[str]
    """Types of numbers that match whatever their value."""
    has_bound_numbers: bool
    """Whether there are other numbers that are not listed."""
    arrays: tuple[ArrayShape, ...]
    objects: tuple[ObjectShape, ...]
    constants: tuple[Json, ...]
    """Lists and objects that are listed."""

    @property
    def has_scalars(self) -> bool:
        """Whether a value may be null, a boolean or a number."""
        return bool(self.words or self.free_numbers) or self.has_bound_numbers


def shape_of(schema: Json, definitions: Mapping[str, Json]) -> Shape:
    """The shape of a schema, which may refer to definitions.

    Raises:
        ShapeRefused: It combines what cannot be combined.
    """
    shape = _ShapeBuilder()
    for demands in _alternatives(schema, definitions, 0):
        shape.add(demands)
    return shape.built()


def _alternatives(schema: Json, definitions: Mapping[str, Json], depth: int) -> list[_Demands]:
    """The ways to match a schema, none of which leaves a choice between schemas."""
    if depth > _MAX_DEPTH:
        raise ShapeRefused("its references lead too far")
    if not isinstance(schema, dict):
        return [] if schema is False else [()]
    own = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "$ref")}
    ways: list[_Demands] = [(own,)] if own else [()]
    further = [*_list(schema, "allOf")]
    if "$ref" in schema:
        further.append(definitions[str(schema["$ref"]).removeprefix("#/$defs/")])
    for demand in further:
        ways = _combined(ways, _alternatives(demand, definitions, depth + 1))
    if "anyOf" in schema:
        choices = [_alternatives(choice, definitions, depth + 1) for choice in _list(schema, "anyOf")]
        ways = _combined(ways, [way for choice in choices for way in choice])
    return ways


def _combined(ways: Sequence[_Demands], others: Sequence[_Demands]) -> list[_Demands]:
    too_many = len(ways) * len(others) > (MAX_WAYS if min(len(ways), len(others)) > 1 else _MAX_ALTERNATIVES)
    if too_many:
        raise ShapeRefused("there are too many alternatives")
    return [(*one, *other) for one, other in product(ways, others)]


class _ShapeBuilder:
    """Sums up alternatives."""

    def __init__(self) -> None:
        self._texts: list[TextShape] = []
        self._words: set[str] = set()
        self._free_numbers: set[str] = set()
        self._has_bound_numbers = False
        self._arrays: list[ArrayShape] = []
        self._objects: list[ObjectShape] = []
        self._constants: list[Json] = []

    def built(self) -> Shape:
        return Shape(
            texts=tuple(self._texts),
            words=frozenset(self._words),
            free_numbers=frozenset(self._free_numbers),
            has_bound_numbers=self._has_bound_numbers,
            arrays=tuple(self._arrays),
            objects=tuple(self._objects),
            constants=tuple(self._constants),
        )

    def add(self, demands: _Demands) -> None:
        types = ALL_TYPES.intersection(*map(declared_types, demands))
        values = _values(demands, types)
        if values is None:
            self._add_types(demands, types)
        else:
            self._add_values(demands, values)

    def _add_types(self, demands: _Demands, types: frozenset[str]) -> None:
        self._words |= {"null"} & types | ({"true", "false"} if "boolean" in types else set[str]())
        if "integer" in types and _says(demands, _NUMBER_KEYWORDS):
            self._has_bound_numbers = True
        elif "integer" in types:
            self._free_numbers.add("number" if "number" in types else "integer")
        if "string" in types:
            self._texts += _text(demands, None)
        if "array" in types:
            self._arrays += _array(demands)
        if "object" in types:
            self._objects += _object(demands)

    def _add_values(self, demands: _Demands, values: Sequence[Json]) -> None:
        self._texts += _text(demands, tuple(value for value in values if isinstance(value, str)))
        self._constants += [value for value in values if isinstance(value, list | dict)]
        if self._constants and _says(demands, _ARRAY_KEYWORDS | _OBJECT_KEYWORDS):
            raise ShapeRefused("lists or objects that are listed cannot have further keywords")
        scalars = [value for value in values if not isinstance(value, str | list | dict)]
        numbers = [value for value in scalars if "number" in value_types(value)]
        if numbers and _says(demands, _NUMBER_KEYWORDS):
            self._has_bound_numbers = True
            scalars = [value for value in scalars if value not in numbers]
        self._words |= set(map(canonical, scalars))


def _says(demands: _Demands, keywords: frozenset[str]) -> bool:
    return any(not keywords.isdisjoint(demand) for demand in demands)


def _values(demands: _Demands, types: frozenset[str]) -> list[Json] | None:
    """The values that all lists hold, of these types; None: there is no list."""
    lists = [values for demand in demands if (values := listed_values(demand)) is not None]
    if not lists:
        return None
    others = [{canonical(value) for value in values} for values in lists[1:]]
    first = {canonical(value): value for value in lists[0] if value_types(value) & types}
    return [value for text, value in first.items() if all(text in other for other in others)]


def _text(demands: _Demands, choices: tuple[str, ...] | None) -> Iterator[TextShape]:
    min_length, max_length = _bounds(demands, "minLength", "maxLength")
    if choices is not None:
        choices = tuple(choice for choice in choices if _is_within(len(choice), min_length, max_length))
    if choices == () or (max_length is not None and max_length < min_length):
        return
    patterns = tuple(str(demand["pattern"]) for demand in demands if "pattern" in demand)
    if choices is not None:
        yield TextShape(choices=choices, patterns=patterns)
    else:
        yield TextShape(min_length=min_length, max_length=max_length, patterns=patterns)


def _array(demands: _Demands) -> Iterator[ArrayShape]:
    min_items, max_items = _bounds(demands, "minItems", "maxItems")
    firsts = [_list(demand, "prefixItems") for demand in demands]
    rests = [demand.get("items", True) for demand in demands]
    length = max(map(len, firsts), default=0)
    first = tuple(
        _all_of([own[index] if index < len(own) else rest for own, rest in zip(firsts, rests, strict=True)])
        for index in range(length)
    )
    rest = _all_of(rests)
    ends = [index for index, item in enumerate((*first, rest)) if item is False]
    limits = ends if max_items is None else [*ends, max_items]
    max_items = min(limits) if limits else None
    if max_items is None or min_items <= max_items:
        yield ArrayShape(first=first, rest=rest, min_items=min_items, max_items=max_items)


def _object(demands: _Demands) -> Iterator[ObjectShape]:
    if _says(demands, frozenset({"patternProperties"})):
        raise ShapeRefused("patternProperties cannot be enforced")
    required = frozenset(str(name) for demand in demands for name in _list(demand, "required"))
    ordered = [name for demand in demands for name in _map(demand, "properties")]
    ordered += [str(name) for demand in demands for name in _list(demand, "required")]
    rests = [demand.get("additionalProperties", True) for demand in demands]
    properties = {
        name: _all_of([_map(demand, "properties").get(name, rest) for demand, rest in zip(demands, rests, strict=True)])
        for name in dict.fromkeys(ordered)
    }
    if any(properties[name] is False for name in required):
        return
    additional = _all_of(rests)
    minimum, maximum = _bounds(demands, "minProperties", "maxProperties")
    num_named = sum(schema is not False for schema in properties.values())
    if minimum > max(1, len(required)) or (minimum > len(required) and not num_named and additional is False):
        raise ShapeRefused("minProperties cannot be enforced with optional properties")
    yield ObjectShape(
        properties=properties,
        required=required,
        additional=additional,
        max_additional=_max_additional(maximum, len(required), num_named, additional),
        needs_one=minimum > len(required),
    )


def _max_additional(maximum: int | None, num_required: int, num_named: int, additional: Json) -> int | None:
    if maximum is None or (additional is False and num_named <= maximum):
        return None
    if num_named > num_required or num_named > maximum:
        raise ShapeRefused("maxProperties cannot be enforced with optional properties")
    return maximum - num_named


def _all_of(schemas: Sequence[Json]) -> Json:
    """One schema for what all of them demand."""
    demanding = [schema for schema in schemas if schema not in (True, {})]
    if any(schema is False for schema in demanding):
        return False
    if not demanding:
        return True
    return demanding[0] if len(demanding) == 1 else {"allOf": list(demanding)}


def _bounds(demands: _Demands, minimum: str, maximum: str) -> tuple[int, int | None]:
    lower = [bound for demand in demands if isinstance(bound := demand.get(minimum), int)]
    upper = [bound for demand in demands if isinstance(bound := demand.get(maximum), int)]
    return max(lower, default=0), min(upper, default=None)


def _is_within(length: int, minimum: int, maximum: int | None) -> bool:
    return minimum <= length and (maximum is None or length <= maximum)


def _list(schema: Mapping[str, Json], key: str) -> list[Json]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _map(schema: Mapping[str, Json], key: str) -> dict[str, Json]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}
