"""Proves that no value matches two JSON schemas at once, as `oneOf` needs; it knows no grammar."""

from collections.abc import Callable, Mapping

from onward_server.grammar.schema_types import listed_values, own_types
from onward_server.grammar.values import Json, canonical

Resolve = Callable[[str], Json]
"""Gives the schema that a `$ref` means."""

_OBJECT = frozenset({"object"})
_MAX_DEPTH = 8


def are_disjoint(one: Json, other: Json, resolve: Resolve) -> bool:
    """Whether it is certain that no value matches both."""
    return _Proof(resolve).of(one, other, _MAX_DEPTH)


class _Proof:
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def of(self, one: Json, other: Json, depth: int) -> bool:
        """Looks at what both say of types, of values and of properties, then at what either is made of."""
        if depth == 0:
            return False
        one, other = self._followed(one), self._followed(other)
        if one is False or other is False:
            return True
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return False
        if not (own_types(one) & own_types(other)) or _have_no_common_value(one, other):
            return True
        if own_types(one) & own_types(other) == _OBJECT and self._differ_in_property(one, other, depth):
            return True
        return self._parts_differ(one, other, depth) or self._parts_differ(other, one, depth)

    def _followed(self, schema: Json) -> Json:
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref") if isinstance(schema, dict) and len(schema) == 1 else None
            if not isinstance(reference, str):
                break
            schema = self._resolve(reference)
        return schema

    def _parts_differ(self, whole: Mapping[str, Json], other: Json, depth: int) -> bool:
        """Whether all choices of a schema, or one of its demands, are disjoint from the other."""
        for keyword in ("anyOf", "oneOf"):
            choices = whole.get(keyword)
            if isinstance(choices, list) and all(self.of(choice, other, depth - 1) for choice in choices):
                return True
        demands = whole.get("allOf")
        reference = whole.get("$ref")
        if isinstance(demands, list) and any(self.of(demand, other, depth - 1) for demand in demands):
            return True
        return isinstance(reference, str) and self.of(self._resolve(reference), other, depth - 1)

    def _differ_in_property(self, one: Mapping[str, Json], other: Mapping[str, Json], depth: int) -> bool:
        """Whether a property that one of them requires cannot be as both want it."""
        required = _required(one) | _required(other)
        return any(self.of(_property(one, name), _property(other, name), depth - 1) for name in required)


def _have_no_common_value(one: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    values, other_values = listed_values(one), listed_values(other)
    if values is None or other_values is None:
        return False
    return not {canonical(value) for value in values} & {canonical(value) for value in other_values}


def _required(schema: Mapping[str, Json]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _property(schema: Mapping[str, Json], name: str) -> Json:
    """What a schema says of a property, as far as it does so by name."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and name in properties:
        return properties[name]
    return schema.get("additionalProperties", True) if "patternProperties" not in schema else True
