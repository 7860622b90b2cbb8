"""Finds the types that the values of a schema can have.

For arguments written as bare text, the parser and the grammar both decide by these types.
"""

from onward_server.grammar.schema import tree
from onward_server.json_value import Json

Types = frozenset[str]

ALL_TYPES = frozenset(tree.FREE)
_NODE_TYPES: dict[type, Types] = {
    tree.Null: frozenset({"null"}),
    tree.Boolean: frozenset({"boolean"}),
    tree.Number: frozenset({"integer", "number"}),
    tree.Text: frozenset({"string"}),
    tree.Array: frozenset({"array"}),
    tree.Object: frozenset({"object"}),
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
    """The types of the properties of one document; all types if finding them would take too many steps.

    Results do not depend on the order of calls.
    """

    def __init__(self, document: tree.Document) -> None:
        self._document = document
        self._by_property: dict[str, Types] = {}
        self._by_reference: dict[tuple[str, str | None], Types] = {}
        self._num_schemas = 0

    def of_property(self, name: str) -> Types:
        """The types that a property of the root can have; may include further types."""
        if name not in self._by_property:
            self._by_property[name] = self._found(self._document.root, name)
        return self._by_property[name]

    def of_others(self) -> Types:
        """The types that a property that the root does not list can have; may include further types."""
        object_ = _object(self._document.root)
        return ALL_TYPES if object_ is None or object_.patterns else self._found(object_.additional, None)

    def _found(self, schema: tree.Schema, name: str | None) -> Types:
        self._by_reference.clear()
        self._num_schemas = 0
        return self._types(schema, name)

    def _types(self, schema: tree.Schema, name: str | None) -> Types:
        """The types of the values of a schema or, with a name, of the property of that name."""
        self._num_schemas += 1
        if self._num_schemas > _MAX_SCHEMAS:
            return ALL_TYPES
        match schema:
            case tree.AllOf(demands=demands):
                return ALL_TYPES.intersection(*[self._types(demand, name) for demand in demands])
            case tree.AnyOf(choices=choices) | tree.OneOf(choices=choices):
                return frozenset[str]().union(*[self._types(choice, name) for choice in choices])
            case tree.Ref(name=target):
                return self._referred(target, name)
            case _:
                return types_of(schema) if name is None else self._property_types(schema, name)

    def _property_types(self, schema: tree.Schema, name: str) -> Types:
        if isinstance(schema, tree.Never):
            return frozenset()
        object_ = _object(schema)
        if object_ is not None and name in object_.properties:
            return self._types(object_.properties[name], None)
        return ALL_TYPES if object_ is None or object_.patterns else self._types(object_.additional, None)

    def _referred(self, target: str, name: str | None) -> Types:
        key = (target, name)
        if key not in self._by_reference:
            self._by_reference[key] = ALL_TYPES  # for a reference back to this one
            self._by_reference[key] = self._types(self._document.definitions[target], name)
        return self._by_reference[key]


def property_names(document: tree.Document) -> frozenset[str]:
    """The names of the properties that the root lists, also where it combines or refers to other schemas."""
    names: set[str] = set()
    pending, seen = [document.root], set[str]()
    while pending:
        match pending.pop():
            case tree.AllOf(demands=schemas) | tree.AnyOf(choices=schemas) | tree.OneOf(choices=schemas):
                pending.extend(schemas)
            case tree.Ref(name=name) if name not in seen:
                seen.add(name)
                pending.append(document.definitions[name])
            case schema:
                object_ = _object(schema)
                names.update(object_.properties if object_ else ())
    return frozenset(names)


def types_of(schema: tree.Schema) -> Types:
    """The types that a node itself allows; all types for a node that combines others."""
    match schema:
        case tree.Never():
            return frozenset()
        case tree.ByType(alternatives=alternatives):
            return frozenset[str]().union(*map(types_of, alternatives))
        case tree.Number(is_integer=True):
            return _INTEGER
        case tree.Enum(values=values):
            return frozenset[str]().union(*map(value_types, values))
        case tree.Anything() | tree.AllOf() | tree.AnyOf() | tree.OneOf() | tree.Ref():
            return ALL_TYPES
        case _:
            return _NODE_TYPES[type(schema)]


def value_types(value: Json) -> Types:
    """The types of a value."""
    is_whole = isinstance(value, float) and value.is_integer()
    return _VALUE_TYPES[int] if is_whole else _VALUE_TYPES[type(value)]


def _object(schema: tree.Schema) -> tree.Object | None:
    """The node for the objects of a schema that combines no others."""
    nodes = schema.alternatives if isinstance(schema, tree.ByType) else (schema,)
    return next((node for node in nodes if isinstance(node, tree.Object)), None)
