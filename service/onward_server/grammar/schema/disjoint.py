"""Turns `oneOf` into `anyOf`: proves that no value matches two of its choices, or excludes the values that do."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from onward_server.grammar.schema.negation import negated
from onward_server.grammar.schema.tree import (
    AllOf,
    AnyOf,
    Anything,
    Array,
    ByType,
    Enum,
    Number,
    Object,
    OneOf,
    Ref,
    Schema,
    SchemaRejected,
    Text,
)
from onward_server.grammar.schema.value_types import types_of
from onward_server.grammar.values import canonical

_COMBINING = (AllOf, AnyOf, OneOf, Ref, ByType)
_MAX_DEPTH = 8
_MAX_PAIRS = 10_000
_MAX_EXCLUDED = 4


def exclusive(schema: OneOf, definitions: Mapping[str, Schema]) -> AnyOf:
    """The `anyOf` that means the same.

    Raises:
        SchemaRejected: No such schema can be expressed.
    """
    num_pairs = len(schema.choices) * (len(schema.choices) - 1) // 2
    if num_pairs > _MAX_PAIRS:
        raise SchemaRejected(f"at {schema.place}: {len(schema.choices)} schemas are too many to tell apart; use anyOf")
    proof = _Proof(definitions)
    types = [schema.types & types_of(choice) for choice in schema.choices]
    overlapping: list[list[int]] = [[] for _ in schema.choices]
    for (i, one), (j, other) in combinations(enumerate(schema.choices), 2):
        if types[i] & types[j] and not proof.of(one, other, _MAX_DEPTH):
            overlapping[i].append(j)
            overlapping[j].append(i)
    return AnyOf(schema.place, tuple([_excluding(schema, i, others) for i, others in enumerate(overlapping)]))


def _excluding(schema: OneOf, index: int, others: Sequence[int]) -> Schema:
    if not others:
        return schema.choices[index]
    negations = [negated(schema.choices[other]) for other in others[:_MAX_EXCLUDED]]
    demands = [negation for negation in negations if negation is not None]
    if len(demands) < len(others):
        low, high = sorted((index, others[negations.index(None) if None in negations else 0]))
        raise SchemaRejected(
            f"at {schema.place}: a value may match both {low} and {high}; use anyOf, or tell them apart by type, "
            "or by a required property with different constants"
        )
    return AllOf(schema.place, (schema.choices[index], *demands))


class _Proof:
    """Proves that no value matches two schemas."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def of(self, one: Schema, other: Schema, depth: int) -> bool:
        """Whether it is certain that no value matches both."""
        if depth == 0:
            return False
        if not types_of(one) & types_of(other):
            return True
        combined = [schema for schema in (one, other) if isinstance(schema, _COMBINING)]
        if combined:
            return any(self._parts(schema, other if schema is one else one, depth) for schema in combined)
        match one, other:
            case (Enum(), Enum()):
                return not {canonical(value) for value in one.values} & {canonical(value) for value in other.values}
            case (Object(), Object()):
                return self._differ_in_property(one, other, depth)
            case _:
                return _limits_exclude(one, other) or _limits_exclude(other, one)

    def _parts(self, whole: Schema, other: Schema, depth: int) -> bool:
        """Whether all choices of a schema, or one of its demands, are disjoint from the other."""
        match whole:
            case AllOf(demands=demands):
                return any(self.of(demand, other, depth - 1) for demand in demands)
            case AnyOf(choices=choices) | OneOf(choices=choices) | ByType(alternatives=choices):
                return all(self.of(choice, other, depth - 1) for choice in choices)
            case Ref(name=name):
                return self.of(self._definitions[name], other, depth - 1)
            case _:
                return False

    def _differ_in_property(self, one: Object, other: Object, depth: int) -> bool:
        """Whether a property that one of them requires cannot match both."""
        names = {*one.required, *other.required}
        return any(self.of(_property(one, name), _property(other, name), depth - 1) for name in names)


def _property(schema: Object, name: str) -> Schema:
    """The schema of a property, as far as it is known without matching patterns."""
    return schema.properties.get(name, Anything(schema.place) if schema.patterns else schema.additional)


def _limits_exclude(low: Schema, high: Schema) -> bool:
    """Whether every number, length or number of items of one is below those of the other."""
    match low, high:
        case (Number(maximum=most), Number(minimum=least)) if most is not None and least is not None:
            return most < least or (most == least and (low.excludes_maximum or high.excludes_minimum))
        case (Text(max_length=most), Text(min_length=least)) | (Array(max_items=most), Array(min_items=least)):
            return most is not None and most < least
        case _:
            return False
