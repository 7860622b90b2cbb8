"""Writes a tree as a JSON Schema that llguidance enforces exactly."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from onward_server.grammar.schema.disjoint import exclusive
from onward_server.grammar.schema.numbers import inexact
from onward_server.grammar.schema.string_formats import FORMAT_PATTERNS
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
    OfOneType,
    OneOf,
    Ref,
    Schema,
    SchemaRejected,
    Text,
)
from onward_server.json_value import Json, JsonObject

_MAX_SCHEMAS = 50_000
_MAX_DEPTH = 20
"""Maximum depth of one definition; llguidance reads JSON to a depth of 128. Deeper schemas become new definitions."""
_MAX_OPTIONAL = 50
_NUM_TYPES = 6
_REPEATS = re.compile(r"[*+]|(?<!\\[xpP])\{(?:[0-9]+,|(?:[0-9]+,)?[0-9]{2,})\}")
_REPEATED_GROUPS = re.compile(r"\)[*+{]")
_MANY_COUNTERS = 3


@dataclass(frozen=True, slots=True)
class Written:
    """A schema as llguidance reads it."""

    schema: JsonObject
    texts: Mapping[str, JsonObject]
    """The schemas of strings whose patterns may be costly to match, by their place."""


def written(schema: Schema, document: Document) -> Written:
    """Writes a schema, with the definitions of the document that it refers to.

    Raises:
        SchemaRejected: llguidance would not enforce it exactly.
    """
    writer = _Writer(document.definitions)
    try:
        body = writer.schema(schema, 0)
        definitions = writer.pending_definitions()
    except RecursionError:
        raise SchemaRejected("it is nested too deeply") from None
    if reason := inexact(writer.numbers, are_combined=document.combines):
        raise SchemaRejected(reason)
    result: JsonObject = body if isinstance(body, dict) else {"allOf": [body]}
    if definitions:
        result["$defs"] = definitions
    return Written(result, writer.texts)


def written_alone(schema: Schema, document: Document) -> Json:
    """Writes a schema without the definitions that it refers to; equal for schemas that mean the same.

    Raises:
        SchemaRejected: llguidance would not enforce it exactly.
    """
    return _Writer(document.definitions).schema(schema, 0)


class _Writer:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.numbers: list[Number] = []
        self.texts: dict[str, JsonObject] = {}
        self._definitions = definitions
        self._pending: dict[str, Schema] = {}
        self._known: set[str] = set()
        self._num_schemas = 0

    def pending_definitions(self) -> JsonObject:
        """The definitions that were referred to, and those that they refer to."""
        result: JsonObject = {}
        while self._pending:
            name, schema = self._pending.popitem()
            result[name] = self.schema(schema, 0)
        return result

    def schema(self, schema: Schema, depth: int) -> Json:
        self._num_schemas += 1
        if self._num_schemas > _MAX_SCHEMAS:
            raise SchemaRejected(f"at {schema.place}: more than {_MAX_SCHEMAS} schemas cannot be enforced together")
        match schema:
            case Text() | Object() | Boolean() | Array() | Number() | Null():
                result: Json = self._of_one_type(schema, depth)
            case Ref(name=name):
                result = self._reference(name, self._definitions[name])
            case Anything():
                result = True
            case Never():
                result = False
            case ByType():
                result = self._by_type(schema, depth)
            case Enum(values=values):
                result = {"enum": list(values)}
            case AnyOf() | OneOf():
                choices = schema if isinstance(schema, AnyOf) else exclusive(schema, self._definitions)
                result = {"anyOf": [self.schema(choice, depth + 1) for choice in choices.choices]}
            case AllOf(demands=demands):
                result = self._all_of(demands, depth)
            case _:
                assert_never(schema)
        return result

    def _all_of(self, demands: Sequence[Schema], depth: int) -> Json:
        """Merges the keywords of all demands into one schema.

        A demand whose type or keyword is already taken goes into allOf.
        """
        result: JsonObject = {}
        separate: list[Json] = []
        is_typed = False
        for demand in demands:
            written = self.schema(demand, depth + 1)
            if written is False:
                return False
            if not isinstance(written, dict):
                continue
            may_be_typed = not isinstance(demand, Enum | AnyOf | OneOf | Ref)
            if result.keys().isdisjoint(written) and not (is_typed and may_be_typed):
                result |= written
                is_typed |= may_be_typed
            else:
                separate.append(written)
        if separate and "allOf" in result:
            separate, result = [result, *separate], {}
        if separate:
            result["allOf"] = separate
        return result or True

    def _reference(self, name: str, schema: Schema) -> Json:
        if name not in self._known:
            self._known.add(name)
            self._pending[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def _part(self, schema: Schema, depth: int) -> Json:
        """The schema of an item or a property."""
        if depth < _MAX_DEPTH or isinstance(schema, Anything | Never | Ref):
            return self.schema(schema, depth + 1)
        return self._reference(f"deep{len(self._known)}", schema)

    def _by_type(self, schema: ByType, depth: int) -> Json:
        merged: JsonObject = {}
        types: list[Json] = []
        separate: list[Json] = []
        for alternative in schema.alternatives:
            written = self._of_one_type(alternative, depth)
            if "anyOf" in written:
                separate.append(written)
            else:
                types.append(written.pop("type"))
                merged |= written
        result: JsonObject = merged if len(types) == _NUM_TYPES else {"type": types, **merged}
        if separate:
            result = {"anyOf": [*separate, result]}
        return result

    def _of_one_type(self, schema: OfOneType, depth: int) -> JsonObject:
        match schema:
            case Text():
                return self._text(schema)
            case Object():
                return self._object(schema, depth)
            case Array():
                return self._array(schema, depth)
            case Boolean():
                return {"type": "boolean"}
            case Number():
                return self._number(schema)
            case Null():
                return {"type": "null"}
            case _:
                assert_never(schema)

    def _number(self, schema: Number) -> JsonObject:
        self.numbers.append(schema)
        result: JsonObject = {"type": "integer" if schema.is_integer else "number"}
        if schema.minimum is not None:
            result["exclusiveMinimum" if schema.excludes_minimum else "minimum"] = schema.minimum
        if schema.maximum is not None:
            result["exclusiveMaximum" if schema.excludes_maximum else "maximum"] = schema.maximum
        if schema.multiple_of is not None:
            result["multipleOf"] = schema.multiple_of
        return result

    def _text(self, schema: Text) -> JsonObject:
        result: JsonObject = {"type": "string"}
        if schema.min_length:
            result["minLength"] = schema.min_length
        if schema.max_length is not None:
            result["maxLength"] = schema.max_length
        if schema.patterns:
            result["pattern"] = schema.patterns[0]
        if further := schema.patterns[1:]:
            result["allOf"] = [{"pattern": pattern} for pattern in further]
        if schema.patterns and _may_be_costly(schema):
            self.texts[schema.place] = dict(result)
        return result

    def _array(self, schema: Array, depth: int) -> JsonObject:
        result: JsonObject = {"type": "array"}
        if schema.first:
            result["prefixItems"] = [self._part(item, depth) for item in schema.first]
        if not isinstance(schema.rest, Anything):
            result["items"] = self._part(schema.rest, depth)
        if schema.min_items:
            result["minItems"] = schema.min_items
        if schema.max_items is not None:
            result["maxItems"] = schema.max_items
        return result

    def _object(self, schema: Object, depth: int) -> JsonObject:
        result: JsonObject = {"type": "object"}
        if schema.properties:
            result["properties"] = members = dict[str, Json]()
            for name, member in schema.properties.items():
                members[name] = self._part(member, depth)
        if schema.patterns:
            result["patternProperties"] = by_pattern = dict[str, Json]()
            for pattern, member in schema.patterns.items():
                by_pattern[pattern] = self._part(member, depth)
        if not isinstance(schema.additional, Anything):
            result["additionalProperties"] = self._part(schema.additional, depth)
        if schema.required:
            result["required"] = list(schema.required)
        return (
            result | _num_properties(schema) if schema.min_properties or schema.max_properties is not None else result
        )


def _may_be_costly(schema: Text) -> bool:
    """Whether matching may need several counters at once; the patterns of formats are known to be cheap."""
    own = [pattern for pattern in schema.patterns if pattern not in FORMAT_PATTERNS]
    num_counters = 2 * (len(schema.patterns) - 1) + (schema.max_length is not None)
    for pattern in own:
        num_counters += len(_REPEATS.findall(pattern)) + len(_REPEATED_GROUPS.findall(pattern))
        num_counters += 0 if pattern.startswith("^") else 2
    return bool(own) and num_counters >= _MANY_COUNTERS


def _num_properties(schema: Object) -> JsonObject:
    """The keywords for the number of properties, in a form that llguidance enforces.

    Properties that the schema does not name may repeat, so at most one of them can be required.
    """
    optional = [
        name
        for name, member in schema.properties.items()
        if name not in schema.required and not isinstance(member, Never)
    ]
    num_required, least, most = len(schema.required), schema.min_properties, schema.max_properties
    is_closed = isinstance(schema.additional, Never) and not schema.patterns
    if least > num_required + 1:
        raise SchemaRejected(
            f"at {schema.place}/minProperties: {least} cannot be enforced with {num_required} required properties; at "
            f"most {num_required + 1} can, because other properties may repeat"
        )
    if most is not None and is_closed and most >= num_required + len(optional):
        most = None
    result: JsonObject = {} if most is None else {"maxProperties": most}
    if least <= num_required:
        return result
    if not optional or is_closed:
        return {**result, "minProperties": least}
    if most is not None or len(optional) > _MAX_OPTIONAL:
        reason = f"cannot be enforced together with maxProperties or more than {_MAX_OPTIONAL} optional properties"
        raise SchemaRejected(f"at {schema.place}/minProperties: {reason}")
    no_optional: JsonObject = {"properties": dict.fromkeys(optional, False), "minProperties": least}
    one_of_them: list[Json] = [{"type": "object", "required": [name]} for name in optional]
    return {"anyOf": [*one_of_them, {"type": "object", **no_optional}]}
