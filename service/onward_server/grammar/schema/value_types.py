"""Which types the values of a schema can have.

Readers of arguments that are bare text go by these types, and so do the grammars of such text.
"""

from onward_server.grammar.schema.tree import (
    AllOf,
    AnyOf,
    Anything,
    Array,
    Boolean,
    ByType,
    Document,
    Enum,
    Never,
    Null,
    Number,
    Object,
    OneOf,
    Ref,
    Schema,
    Text,
)
from onward_server.json_value import Json

Types = frozenset[str]

ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_NODE_TYPES: dict[type, Types] = {
    Null: frozenset({"null"}),
    Boolean: frozenset({"boolean"}),
    Number: frozenset({"integer", "number"}),
    Text: frozenset({"string"}),
    Array: frozenset({"array"}),
    Object: frozenset({"object"}),
}
_VALUE_TYPES: dict[type, Types] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    str: frozenset({"string"}),
    list: frozenset({"array"}),
    dict: frozenset({"object"}),
}
_INTEGER = frozenset({"integer"})
_MAX_SCHEMAS = 100


class SchemaTypes:
    """Answers for one document; where that would take many steps, it answers that all types are possible.

    An answer does not depend on earlier questions.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._by_property: dict[str, Types] = {}
        self._by_reference: dict[tuple[str, str | None], Types] = {}
        self._num_schemas = 0

    def of_property(self, name: str) -> Types:
        """The types that a property of the root can have, and perhaps more."""
        if name not in self._by_property:
            self._by_property[name] = self._asked(self._document.root, name)
        return self._by_property[name]

    def of_others(self) -> Types:
        """The same for every property that the root does not name."""
        match self._document.root:
            case ByType(alternatives=alternatives):
                objects = [one for one in alternatives if isinstance(one, Object)]
            case root:
                objects = [root] if isinstance(root, Object) else []
        return self._asked(objects[0].additional, None) if objects and not objects[0].patterns else ALL_TYPES

    def _asked(self, schema: Schema, name: str | None) -> Types:
        self._by_reference.clear()
        self._num_schemas = 0
        return self._types(schema, name)

    def _types(self, schema: Schema, name: str | None) -> Types:
        """The types of what matches a schema, or of its property of a name."""
        self._num_schemas += 1
        if self._num_schemas > _MAX_SCHEMAS:
            return ALL_TYPES
        match schema:
            case AllOf(demands=demands):
                return ALL_TYPES.intersection(*[self._types(demand, name) for demand in demands])
            case AnyOf(choices=choices) | OneOf(choices=choices):
                return frozenset[str]().union(*[self._types(choice, name) for choice in choices])
            case Ref(name=target):
                return self._referred(target, name)
            case _:
                return types_of(schema) if name is None else self._property_types(schema, name)

    def _property_types(self, schema: Schema, name: str) -> Types:
        match schema:
            case Object():
                if name in schema.properties:
                    return self._types(schema.properties[name], None)
                return ALL_TYPES if schema.patterns else self._types(schema.additional, None)
            case ByType(alternatives=alternatives):
                objects = [one for one in alternatives if isinstance(one, Object)]
                return self._property_types(objects[0], name) if objects else ALL_TYPES
            case Never():
                return frozenset()
            case _:
                return ALL_TYPES

    def _referred(self, target: str, name: str | None) -> Types:
        key = (target, name)
        if key not in self._by_reference:
            self._by_reference[key] = ALL_TYPES  # for a reference back to here
            self._by_reference[key] = self._types(self._document.definitions[target], name)
        return self._by_reference[key]


def types_of(schema: Schema) -> Types:
    """The types that a node allows by itself; all of them for a node that combines others."""
    match schema:
        case Never():
            return frozenset()
        case ByType(alternatives=alternatives):
            return frozenset[str]().union(*map(types_of, alternatives))
        case Number(is_integer=True):
            return _INTEGER
        case Enum(values=values):
            return frozenset[str]().union(*map(value_types, values))
        case Anything() | AllOf() | AnyOf() | OneOf() | Ref():
            return ALL_TYPES
        case _:
            return _NODE_TYPES[type(schema)]


def value_types(value: Json) -> Types:
    """The types of a value."""
    is_whole = isinstance(value, float) and value.is_integer()
    return _VALUE_TYPES[int] if is_whole else _VALUE_TYPES[type(value)]
