"""Which types the values of a JSON schema can have, as far as it says so; it writes no grammar.

Readers of arguments that are bare text go by these types, and so does who writes the grammar of such text.
"""

from collections.abc import Mapping
from typing import cast

from onward_server.grammar.values import Json, lookup

ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_TYPES: dict[type, frozenset[str]] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    str: frozenset({"string"}),
    list: frozenset({"array"}),
    dict: frozenset({"object"}),
}
_COMBINING = frozenset({"allOf", "anyOf", "oneOf", "$ref", "patternProperties"})
_MAX_SCHEMAS = 100


class SchemaTypes:
    """Looks at one document; what it does not understand, or would have to look for long, it takes for any type.

    What it says of a property does not depend on what it was asked before.
    """

    def __init__(self, root: Json) -> None:
        self._root = root
        self._by_property: dict[str, frozenset[str]] = {}
        self._by_reference: dict[tuple[str | None, str], frozenset[str]] = {}
        self._num_schemas = 0

    def of_property(self, name: str) -> frozenset[str]:
        """The types that a property of the whole can have, and perhaps more."""
        if name not in self._by_property:
            self._by_reference.clear()
            self._num_schemas = 0
            self._by_property[name] = self._types(self._root, name)
        return self._by_property[name]

    def of_others(self) -> frozenset[str]:
        """The same for every property that the whole does not name."""
        if not isinstance(self._root, dict) or not _COMBINING.isdisjoint(self._root):
            return ALL_TYPES
        self._by_reference.clear()
        self._num_schemas = 0
        return self._types(self._root.get("additionalProperties", True), None)

    def _types(self, schema: Json, name: str | None) -> frozenset[str]:
        """The types of what matches a schema, or of its property of a name."""
        if schema is False:
            return frozenset()
        self._num_schemas += 1
        if not isinstance(schema, dict) or self._num_schemas > _MAX_SCHEMAS:
            return ALL_TYPES
        types = own_types(schema) if name is None else self._property_types(schema, name)
        if isinstance(reference := schema.get("$ref"), str):
            types &= self._referred(reference, name)
        for demand in _list(schema, "allOf"):
            types &= self._types(demand, name)
        for keyword in ("anyOf", "oneOf"):
            if choices := _list(schema, keyword):
                types &= frozenset[str]().union(*(self._types(choice, name) for choice in choices))
        return types

    def _property_types(self, schema: dict[str, Json], name: str) -> frozenset[str]:
        properties = schema.get("properties")
        if isinstance(properties, dict) and name in properties:
            return self._types(properties[name], None)
        if "patternProperties" in schema:
            return ALL_TYPES
        return self._types(schema.get("additionalProperties", True), None)

    def _referred(self, reference: str, name: str | None) -> frozenset[str]:
        key = (name, reference)
        if key not in self._by_reference:
            self._by_reference[key] = ALL_TYPES  # what a circle of references says is not known
            try:
                target = lookup(self._root, reference)
            except LookupError:
                return ALL_TYPES
            self._by_reference[key] = self._types(target, name)
        return self._by_reference[key]


def value_types(value: Json) -> frozenset[str]:
    """The types that a value is of."""
    is_whole = isinstance(value, float) and value.is_integer()
    return _TYPES[int] if is_whole else _TYPES[type(value)]


def declared_types(schema: Mapping[str, Json]) -> frozenset[str]:
    """What `type` allows; a number may be whole."""
    declared = schema.get("type", list(ALL_TYPES))
    types = frozenset(map(str, declared if isinstance(declared, list) else [declared]))
    return types | {"integer"} if "number" in types else types


def listed_values(schema: Mapping[str, Json]) -> list[Json] | None:
    """The values that `const` or `enum` list; None: there is neither."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def own_types(schema: Mapping[str, Json]) -> frozenset[str]:
    """The types that `type` and listed values leave."""
    types = declared_types(schema)
    values = listed_values(schema)
    return types if values is None else types & frozenset[str]().union(*map(value_types, values))


def _list(schema: dict[str, Json], keyword: str) -> list[Json]:
    value = schema.get(keyword)
    return cast("list[Json]", value) if isinstance(value, list) else []
