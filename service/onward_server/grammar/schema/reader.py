"""Reads a JSON Schema into a tree, and records the first keyword that cannot be enforced, with its place.

Schemas are read as draft 2020-12 defines them. The older spellings of tuples, exclusive bounds, dependencies and
anchors are supported. Annotations (`title`, `default`, …) and unknown keywords are ignored.
"""

from collections.abc import Callable, Mapping

from onward_server.grammar.schema import negation
from onward_server.grammar.schema.keywords import NUMBER_KEYWORDS, TEXT_KEYWORDS, KeywordReader
from onward_server.grammar.schema.patterns import length_pattern
from onward_server.grammar.schema.references import References, base_of, escaped
from onward_server.grammar.schema.tree import (
    FREE,
    AllOf,
    AnyOf,
    Anything,
    Array,
    ByType,
    Document,
    Enum,
    Never,
    Object,
    OfOneType,
    OneOf,
    Ref,
    Schema,
    Text,
)
from onward_server.grammar.schema.value_types import ALL_TYPES, types_of
from onward_server.json_value import Json, JsonObject

_MAX_PROPERTIES = 3000
_MAX_CONDITIONS = 4
"""Each level doubles the size of the written schema."""

_ARRAY_KEYWORDS = (
    *("items", "prefixItems", "additionalItems", "unevaluatedItems"),
    *("minItems", "maxItems", "contains", "uniqueItems"),
)
_OBJECT_KEYWORDS = (
    *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("required", "minProperties", "maxProperties"),
)
_TYPE_KEYWORDS = {
    "null": frozenset[str](),
    "boolean": frozenset[str](),
    "integer": frozenset(NUMBER_KEYWORDS),
    "number": frozenset(NUMBER_KEYWORDS),
    "string": frozenset(TEXT_KEYWORDS),
    "array": frozenset(_ARRAY_KEYWORDS),
    "object": frozenset(_OBJECT_KEYWORDS),
}
_TYPED_KEYWORDS = frozenset({"type"}).union(*_TYPE_KEYWORDS.values())
_UNTYPED = ("null", "boolean", "number", "string", "array", "object")
_ORDERED = _TYPED_KEYWORDS - {"type", "required"}
"""Keywords whose position decides how properties are ordered when schemas are combined."""
_APPLICATORS = frozenset({"allOf", "anyOf", "oneOf", "$ref", "if", "not", "dependentSchemas", "dependencies"})
"""Keywords whose schemas evaluate items or properties."""


class _Reader:
    """Reads one document; reads each schema in it once."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._references = References(root)
        self._names: dict[int, str] = {}
        self._read: dict[int, Schema] = {}
        self._pending: list[tuple[JsonObject, str, str]] = []
        self._keywords = KeywordReader()
        self._combines = False

    def document(self) -> Document:
        root = self.schema(self._root, "#", self._references.base)
        definitions: dict[str, Schema] = {}
        places: dict[str, str] = {}
        while self._pending:
            schema, place, base = self._pending.pop()
            key = id(schema)
            places[self._names[key]] = place
            definitions[self._names[key]] = self._read[key] if key in self._read else self.schema(schema, place, base)
        return Document(
            root=root,
            definitions=definitions,
            places=places,
            problem=self._keywords.problem,
            num_patterns=self._keywords.num_patterns,
            combines=self._combines,
        )

    def schema(self, schema: Json, place: str, base: str) -> Schema:
        """`base`: the URI that references in the schema are relative to, unless it has an `$id`."""
        if schema is True or schema == {}:
            return Anything(place)
        if schema is False:
            return Never(place)
        if not isinstance(schema, dict):
            return self._rejected(place, f"{schema!r:.40} is not a schema; a schema is an object or a boolean")
        if "$id" in schema and schema is not self._root:
            base = base_of(schema, base)
        keywords = schema.keys()
        if keywords.isdisjoint(_COMBINING):
            result = Anything(place) if keywords.isdisjoint(_TYPED_KEYWORDS) else self._typed(schema, place, base)
        else:
            demands = self._demands(schema, place, base)
            result = demands[0] if len(demands) == 1 else AllOf(place, tuple(demands)) if demands else Anything(place)
            self._combines |= len(demands) > 1
        self._read[id(schema)] = result
        return result

    def _demands(self, schema: JsonObject, place: str, base: str) -> list[Schema]:
        """The demands of the keywords, in the order of the keywords."""
        demands: list[Schema] = []
        typed_at = None
        for keyword, value in schema.items():
            if keyword in _TYPED_KEYWORDS:
                if typed_at is None or (keyword in _ORDERED and typed_at < 0):
                    typed_at = len(demands) if keyword in _ORDERED else -1
            elif read := _COMBINERS.get(keyword):
                demands += read(self, value, f"{place}/{keyword}", base, schema)
        if typed_at is not None:
            typed = self._typed(schema, place, base)
            if not isinstance(typed, Anything):
                demands.insert(max(typed_at, 0), typed)
        return demands

    def _typed(self, schema: JsonObject, place: str, base: str) -> Schema:
        """Reads the keywords that apply to values of one type only."""
        declared = schema.get("type", _UNTYPED)
        if isinstance(declared, str):
            if declared not in ALL_TYPES:
                return self._rejected(f"{place}/type", f"{declared!r:.40} is not a type; {_KNOWN_TYPES}")
            return self._of_type(declared, schema, place, base)
        if not isinstance(declared, list | tuple) or not declared or not ALL_TYPES.issuperset(map(str, declared)):
            return self._rejected(
                f"{place}/type", f"{declared!r:.40} is neither a type nor a list of types; {_KNOWN_TYPES}"
            )
        names = dict.fromkeys(map(str, declared))
        if "number" in names:
            names.pop("integer", None)
        named = [(name, self._of_type(name, schema, place, base)) for name in names]
        alternatives = tuple([alternative for _, alternative in named])
        if declared is _UNTYPED and all(alternative is FREE[type_] for type_, alternative in named):
            return Anything(place)
        return alternatives[0] if len(alternatives) == 1 else ByType(place, alternatives)

    def _of_type(self, type_: str, schema: JsonObject, place: str, base: str) -> OfOneType:
        if schema.keys().isdisjoint(_TYPE_KEYWORDS[type_]):
            return FREE[type_]
        match type_:
            case "integer" | "number":
                return self._keywords.number(schema, place, is_integer=type_ == "integer")
            case "string":
                return self._keywords.text(schema, place)
            case "array":
                return self._array(schema, place, base)
            case _:
                return self._object(schema, place, base)

    def _array(self, schema: JsonObject, place: str, base: str) -> Array:
        minimum, maximum = self._keywords.counts(schema, place, "minItems", "maxItems")
        items, first, rest = schema.get("items"), schema.get("prefixItems"), schema.get("items", True)
        first_place, rest_place = f"{place}/prefixItems", f"{place}/items"
        if isinstance(items, list):
            if first is not None:
                self._keywords.reject(f"{place}/items", "a list of schemas cannot be combined with prefixItems")
            first, first_place = items, rest_place
            rest, rest_place = schema.get("additionalItems", True), f"{place}/additionalItems"
        listed = self._keywords.items(first, first_place) if first is not None else []
        schemas = tuple(self.schema(item, f"{first_place}/{i}", base) for i, item in enumerate(listed))
        if "unevaluatedItems" in schema and schema["unevaluatedItems"] is not True:
            if "items" in schema or "contains" in schema or not schema.keys().isdisjoint(_APPLICATORS):
                self._keywords.reject(
                    f"{place}/unevaluatedItems", "cannot be enforced with other schemas for the items"
                )
            else:
                rest, rest_place = schema["unevaluatedItems"], f"{place}/unevaluatedItems"
        if "contains" in schema:
            minimum, maximum = self._contained(schema, place, minimum, maximum)
        if schema.get("uniqueItems", False) is not False and (maximum is None or maximum > 1):
            self._keywords.reject(f"{place}/uniqueItems", "uniqueItems cannot be enforced")
        return Array(place, self.schema(rest, rest_place, base), schemas, minimum, maximum)

    def _contained(self, schema: JsonObject, place: str, minimum: int, maximum: int | None) -> tuple[int, int | None]:
        """Bounds on the number of items, with minContains and maxContains applied if `contains` allows any item."""
        if schema["contains"] not in (True, {}):
            self._keywords.reject(f"{place}/contains", "contains cannot be enforced")
            return minimum, maximum
        least, most = self._keywords.counts({"minContains": 1, **schema}, place, "minContains", "maxContains")
        limits = [limit for limit in (maximum, most) if limit is not None]
        return max(minimum, least), min(limits, default=None)

    def _object(self, schema: JsonObject, place: str, base: str) -> Object:
        minimum, maximum = self._keywords.counts(schema, place, "minProperties", "maxProperties")
        required = self._keywords.names(schema["required"], f"{place}/required") if "required" in schema else ()
        properties = self._members(schema.get("properties", {}), f"{place}/properties", base)
        if len(properties) > _MAX_PROPERTIES:
            reason = f"has {len(properties)} properties; at most {_MAX_PROPERTIES} are allowed"
            self._keywords.reject(f"{place}/properties", reason)
        for name in properties:
            self._keywords.check_value(name, f"{place}/properties")
        patterns: dict[str, Schema] = {}
        if "patternProperties" in schema:
            by_pattern = self._members(schema["patternProperties"], f"{place}/patternProperties", base)
            for pattern, member in by_pattern.items():
                for key in self._keywords.pattern(pattern, f"{place}/patternProperties"):
                    if key in patterns:
                        self._keywords.reject(
                            f"{place}/patternProperties", f"another pattern means the same as {pattern!r:.80}"
                        )
                    patterns[key] = member
            self._keywords.num_patterns += len(patterns)
        additional = self._additional(schema, place, base)
        if "propertyNames" in schema:
            names = self.schema(schema["propertyNames"], f"{place}/propertyNames", base)
            return self._named(Object(place, additional, properties, patterns, required, minimum, maximum), names)
        return Object(place, additional, properties, patterns, required, minimum, maximum)

    def _additional(self, schema: JsonObject, place: str, base: str) -> Schema:
        unevaluated = schema.get("unevaluatedProperties", True)
        if "additionalProperties" in schema:
            return self.schema(schema["additionalProperties"], f"{place}/additionalProperties", base)
        if unevaluated is True or schema.keys().isdisjoint(_APPLICATORS):
            return self.schema(unevaluated, f"{place}/unevaluatedProperties", base)
        reason = "cannot be enforced together with keywords that combine schemas, such as allOf and $ref"
        return self._rejected(f"{place}/unevaluatedProperties", reason)

    def _named(self, schema: Object, names: Schema) -> Object:
        """The object, restricted to property names that match `names`."""
        place = f"{schema.place}/propertyNames"
        if isinstance(names, ByType):
            names = next((one for one in names.alternatives if isinstance(one, Text)), names)
        match names:
            case Anything() | Text(min_length=0, max_length=None, patterns=()):
                return schema
            case Enum(values=values) if not schema.patterns:
                listed = {
                    value: schema.properties.get(value, schema.additional) for value in values if isinstance(value, str)
                }
                closed = {name: Never(place) for name in schema.required if name not in listed}
                return Object(schema.place, Never(place), {**listed, **closed}, {}, *_rest(schema))
            case Text(patterns=patterns) if not schema.patterns and not schema.properties and len(patterns) < 2:
                pattern = length_pattern(names.min_length, names.max_length)
                if patterns and (names.min_length, names.max_length) != (0, None):
                    self._keywords.reject(place, "a pattern and a length of names cannot be enforced together")
                by_pattern = {patterns[0] if patterns else pattern: schema.additional}
                return Object(schema.place, Never(place), {}, by_pattern, *_rest(schema))
            case _:
                reason = "use enum, or remove the other keywords for properties and use a pattern or a length"
                self._keywords.reject(place, f"cannot be enforced; {reason}")
                return schema

    def const(self, value: Json, place: str, _base: str, _schema: JsonObject) -> list[Schema]:
        self._keywords.check_value(value, place)
        return [Enum(place, (value,))]

    def enum(self, value: Json, place: str, _base: str, _schema: JsonObject) -> list[Schema]:
        values = self._keywords.items(value, place)
        for item in values:
            self._keywords.check_value(item, place)
        return [Enum(place, tuple(values))]

    def all_of(self, value: Json, place: str, base: str, _schema: JsonObject) -> list[Schema]:
        return list(self._schemas(value, place, base))

    def any_of(self, value: Json, place: str, base: str, _schema: JsonObject) -> list[Schema]:
        choices = self._schemas(value, place, base)
        return [choices[0] if len(choices) == 1 else AnyOf(place, choices)] if choices else []

    def one_of(self, value: Json, place: str, base: str, schema: JsonObject) -> list[Schema]:
        choices = self._schemas(value, place, base)
        if len(choices) < 2:
            return list(choices)
        beside = (
            frozenset(ALL_TYPES)
            if "type" not in schema
            else types_of(self._typed({"type": schema["type"]}, place, base))
        )
        return [OneOf(place, choices, beside)]

    def reference(self, value: Json, place: str, base: str, schema: JsonObject) -> list[Schema]:
        if not isinstance(value, str):
            return [self._rejected(place, f"{value!r:.40} is not a string")]
        if not str(schema.get("$id", "#")).startswith("#") and not (schema is self._root and value.startswith("#")):
            return [self._rejected(place, "cannot be combined with $id: drafts disagree on what it then means")]
        try:
            target = self._references.resolve(value, base)
        except (LookupError, ValueError):
            return [self._rejected(place, f"the reference {value!r:.80} matches no schema of the document, or several")]
        if not isinstance(target.schema, dict) or not target.schema:
            return [self.schema(target.schema, target.place, target.base)]
        key = id(target.schema)
        if key not in self._names:
            self._names[key] = str(len(self._names))
            self._pending.append((target.schema, target.place, target.base))
        return [Ref(place, self._names[key])]

    def negated(self, value: Json, place: str, base: str, _schema: JsonObject) -> list[Schema]:
        return [self._negation(self.schema(value, place, base), place)]

    def condition(self, value: Json, place: str, base: str, schema: JsonObject) -> list[Schema]:
        """`if`, `then` and `else` as a choice: either `if` and `then` match, or `else` matches and `if` does not."""
        if "then" not in schema and "else" not in schema:
            return []
        if place.count("/if") + place.count("/not") > _MAX_CONDITIONS:
            return [self._rejected(place, f"conditions are nested more than {_MAX_CONDITIONS} deep")]
        where = place.removesuffix("if")
        then = self.schema(schema.get("then", True), f"{where}then", base)
        otherwise = self.schema(schema.get("else", True), f"{where}else", base)
        given = self.schema(value, place, base)
        return [self._either((given, then), (self._negation(given, place), otherwise), place)]

    def dependent(self, value: Json, place: str, base: str, _schema: JsonObject) -> list[Schema]:
        """For each name: the property is absent, or its dependency holds."""
        demands: list[Schema] = []
        for name, dependency in self._keywords.members(value, place).items():
            self._keywords.check_value(name, place)
            where = f"{place}/{escaped(name)}"
            if isinstance(dependency, list):
                required = self._keywords.names(dependency, where)
                holds: Schema = Object(where, Anything(where), required=required)
            else:
                holds = self.schema(dependency, where, base)
            present = Object(where, Anything(where), required=(name,))
            demands.append(self._either((present, holds), (self._negation(present, where),), where))
        return demands

    def unsupported(self, _value: Json, place: str, _base: str, _schema: JsonObject) -> list[Schema]:
        return [self._rejected(place, f"{place.rpartition('/')[2]} cannot be enforced")]

    def _either(self, one: tuple[Schema, ...], other: tuple[Schema, ...], place: str) -> Schema:
        self._combines = True
        return AnyOf(place, (AllOf(place, one), AllOf(place, other)))

    def _negation(self, schema: Schema, place: str) -> Schema:
        result = negation.negated(schema)
        return self._rejected(place, "the negation of this schema cannot be enforced") if result is None else result

    def _schemas(self, value: Json, place: str, base: str) -> tuple[Schema, ...]:
        return tuple(
            [self.schema(schema, f"{place}/{i}", base) for i, schema in enumerate(self._keywords.items(value, place))]
        )

    def _members(self, value: Json, place: str, base: str) -> dict[str, Schema]:
        result: dict[str, Schema] = {}
        for name, schema in self._keywords.members(value, place).items():
            result[name] = self.schema(schema, f"{place}/{escaped(name)}", base)
        return result

    def _rejected(self, place: str, reason: str) -> Anything:
        self._keywords.reject(place, reason)
        return Anything(place)


def read(root: Json) -> Document:
    """Reads a document; if it is nested too deeply, the result has that as its problem."""
    try:
        return _Reader(root).document()
    except RecursionError:
        reason = "it is nested too deeply"
        return Document(root=Anything("#"), definitions={}, places={}, problem=reason, num_patterns=0, combines=False)


def _rest(schema: Object) -> tuple[tuple[str, ...], int, int | None]:
    return schema.required, schema.min_properties, schema.max_properties


_KNOWN_TYPES = f"types are {', '.join(sorted(ALL_TYPES))}"

_Read = Callable[[_Reader, Json, str, str, JsonObject], list[Schema]]
_COMBINERS: Mapping[str, _Read] = {
    "allOf": _Reader.all_of,
    "anyOf": _Reader.any_of,
    "oneOf": _Reader.one_of,
    "$ref": _Reader.reference,
    "const": _Reader.const,
    "enum": _Reader.enum,
    "not": _Reader.negated,
    "if": _Reader.condition,
    "dependentRequired": _Reader.dependent,
    "dependentSchemas": _Reader.dependent,
    "dependencies": _Reader.dependent,
    "$dynamicRef": _Reader.unsupported,
    "$recursiveRef": _Reader.unsupported,
}
_COMBINING = _COMBINERS.keys()
