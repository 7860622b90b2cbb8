"""Turns `oneOf` into `anyOf`: proves that no value matches two of its choices, or excludes the values that do."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from onward_server.grammar.schema import tree
from onward_server.grammar.schema.negation import negated
from onward_server.grammar.schema.value_types import types_of
from onward_server.grammar.values import canonical

_COMBINING = (tree.AllOf, tree.AnyOf, tree.OneOf, tree.Ref, tree.ByType)
_MAX_DEPTH = 8
_MAX_PAIRS = 10_000
_MAX_EXCLUDED = 4


def exclusive(schema: tree.OneOf, definitions: Mapping[str, tree.Schema]) -> tree.AnyOf:
    """An `anyOf` that allows the same values.

    Raises:
        SchemaRejected: The tree cannot express such a schema.
    """
    num_pairs = len(schema.choices) * (len(schema.choices) - 1) // 2
    if num_pairs > _MAX_PAIRS:
        reason = f"{len(schema.choices)} schemas are too many to prove that no value matches two of them; use anyOf"
        raise tree.SchemaRejected(f"at {schema.place}: {reason}")
    proof = _Proof(definitions)
    types = [schema.types & types_of(choice) for choice in schema.choices]
    overlapping: list[list[int]] = [[] for _ in schema.choices]
    choices = [_of_types(choice, schema.types) for choice in schema.choices]
    for (i, one), (j, other) in combinations(enumerate(choices), 2):
        if types[i] & types[j] and not proof.are_disjoint(one, other, _MAX_DEPTH):
            overlapping[i].append(j)
            overlapping[j].append(i)
    return tree.AnyOf(schema.place, tuple([_excluding(schema, i, others) for i, others in enumerate(overlapping)]))


def _of_types(schema: tree.Schema, types: frozenset[str]) -> tree.Schema:
    """The schema without its alternatives of other types."""
    if not isinstance(schema, tree.ByType):
        return schema
    kept = tuple([alternative for alternative in schema.alternatives if types_of(alternative) & types])
    return kept[0] if len(kept) == 1 else tree.ByType(schema.place, kept)


def _excluding(schema: tree.OneOf, index: int, others: Sequence[int]) -> tree.Schema:
    """One choice without the values that match the other choices."""
    if not others:
        return schema.choices[index]
    negations = [negated(schema.choices[other]) for other in others[:_MAX_EXCLUDED]]
    demands = [negation for negation in negations if negation is not None]
    if len(demands) < len(others):
        low, high = sorted((index, others[negations.index(None) if None in negations else 0]))
        raise tree.SchemaRejected(
            f"at {schema.place}: a value may match both schema {low} and schema {high}; use anyOf, or distinguish "
            "them by type or by a required property with different constants"
        )
    return tree.AllOf(schema.place, (schema.choices[index], *demands))


class _Proof:
    """Proves that no value matches two schemas; a proof that needs more than `depth` steps in a row fails."""

    def __init__(self, definitions: Mapping[str, tree.Schema]) -> None:
        self._definitions = definitions

    def are_disjoint(self, one: tree.Schema, other: tree.Schema, depth: int) -> bool:
        if depth == 0:
            return False
        if not types_of(one) & types_of(other):
            return True
        combined = [schema for schema in (one, other) if isinstance(schema, _COMBINING)]
        if combined:
            return any(self._parts_differ(schema, other if schema is one else one, depth - 1) for schema in combined)
        match one, other:
            case (tree.Enum(), tree.Enum()):
                return not {canonical(value) for value in one.values} & {canonical(value) for value in other.values}
            case (tree.Object(), tree.Object()):
                names = {*one.required, *other.required}
                return any(self.are_disjoint(_property(one, name), _property(other, name), depth - 1) for name in names)
            case _:
                return _limits_exclude(one, other) or _limits_exclude(other, one)

    def _parts_differ(self, combined: tree.Schema, other: tree.Schema, depth: int) -> bool:
        """Whether all choices of a schema, or one of its demands, are disjoint from the other schema."""
        match combined:
            case tree.AllOf(demands=demands):
                return any(self.are_disjoint(demand, other, depth) for demand in demands)
            case tree.AnyOf(choices=choices) | tree.OneOf(choices=choices) | tree.ByType(alternatives=choices):
                return all(self.are_disjoint(choice, other, depth) for choice in choices)
            case tree.Ref(name=name):
                return self.are_disjoint(self._definitions[name], other, depth)
            case _:
                return False


def _property(schema: tree.Object, name: str) -> tree.Schema:
    """The schema of a property; any value if a pattern may match its name."""
    return schema.properties.get(name, tree.Anything(schema.place) if schema.patterns else schema.additional)


def _limits_exclude(low: tree.Schema, high: tree.Schema) -> bool:
    """Whether every number, length or item count of `low` is below every one of `high`."""
    match low, high:
        case (tree.Number(maximum=most), tree.Number(minimum=least)) if most is not None and least is not None:
            return most < least or (most == least and (low.excludes_maximum or high.excludes_minimum))
        case (tree.Text(max_length=most), tree.Text(min_length=least)) | (
            tree.Array(max_items=most),
            tree.Array(min_items=least),
        ):
            return most is not None and most < least
        case _:
            return False
