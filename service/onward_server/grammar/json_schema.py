"""Rewrites a JSON schema into one that a grammar enforces to the letter, or refuses it; it knows no grammar.

A schema is read as draft 2020-12 has it; older spellings of tuples and definitions are understood. What is allowed
may become less, never more:

- keywords that describe are left out, those that cannot be enforced are refused, by their place
- `oneOf` becomes `anyOf` where no value can match two of its schemas
- references lead to a list of definitions of our own
- bounds beyond 2^53 are drawn in to there
- patterns and the formats of dates are rewritten to what all dialects agree on
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations as pairs_of
from math import isfinite

from onward_server.grammar import combinations
from onward_server.grammar.disjoint import are_disjoint
from onward_server.grammar.number_limits import NumberLimits, NumbersRefused
from onward_server.grammar.patterns import PatternRefused, rewritten
from onward_server.grammar.string_formats import MAX_LENGTHS, PATTERNS
from onward_server.grammar.values import MAX_EXACT, Json, JsonObject, NotJson, lookup, parse, unspeakable

Clause = tuple[str, Json]
"""A keyword and its value."""

_MAX_DEPTH = 64
_MAX_CHOICES_TO_COMPARE = 128
_MAX_PROPERTIES = 1000
_MAX_PATTERN_LENGTH = 2000
_MAX_PATTERNS_LENGTH = 16_000
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_NOT_ENFORCED = frozenset(
    {
        *("not", "if", "then", "else", "contains", "minContains", "maxContains", "propertyNames", "uniqueItems"),
        *("dependencies", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"),
        *("$dynamicRef", "$recursiveRef"),
    }
)
_HARMLESS = (("uniqueItems", False), ("unevaluatedItems", True), ("unevaluatedProperties", True))


class SchemaRefused(Exception):
    """A schema that cannot be enforced; the message says where and why."""


def enforceable(text: str) -> JsonObject:
    """The schema in a text, rewritten.

    Raises:
        SchemaRefused: It is none, or cannot be enforced.
    """
    try:
        root = parse(text)
    except NotJson as error:
        raise SchemaRefused(f"not JSON: {error}") from error
    return _Rewriter(root).result()


def enforceable_object(text: str) -> JsonObject:
    """The same for one that has to allow objects only.

    Raises:
        SchemaRefused: It is none, cannot be enforced, or allows no object.
    """
    schema = enforceable(text)
    return {"allOf": [{"type": "object"}, {"$ref": schema["$ref"]}], "$defs": schema["$defs"]}


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a keyword stands."""

    schema: JsonObject
    place: str
    """Its own."""
    depth: int
    """Of its schema."""

    def refused(self, reason: str) -> SchemaRefused:
        return SchemaRefused(f"at {self.place}: {reason}")


class _Rewriter:
    """Rewrites one document, and each schema in it that is referred to once."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._indices = {"#": 0}
        self._pending = ["#"]
        self._numbers = NumberLimits()
        self._patterns_length = 0

    def result(self) -> JsonObject:
        definitions: JsonObject = {}
        while self._pending:
            reference = self._pending.pop()
            definitions[str(self._indices[reference])] = self.schema(self.resolved(reference), reference, 0)
        try:
            self._numbers.check()
            if (name := combinations.circular(definitions)) is not None:
                raise SchemaRefused(f"at {self._place(name)}: it leads back to itself, with no value in between")
            combinations.count(definitions)
        except NumbersRefused as error:
            raise SchemaRefused(str(error)) from error
        except combinations.TooManyCombinations as error:
            raise SchemaRefused(f"at {self._place(error.name)}: {error.description}") from error
        return {"$ref": "#/$defs/0", "$defs": definitions}

    def _place(self, name: str) -> str:
        """Where a definition stands in the document."""
        return next(place for place, index in self._indices.items() if str(index) == name)

    def schema(self, schema: Json, place: str, depth: int) -> Json:
        """A schema of the document, rewritten; what is said twice of one keyword is said in `allOf`."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaRefused(f"at {place}: a schema is an object or a boolean")
        if depth > _MAX_DEPTH:
            raise SchemaRefused(f"at {place}: schemas are nested more than {_MAX_DEPTH} deep")
        result: JsonObject = {}
        further: list[Json] = []
        for keyword, value in schema.items():
            rewrite = _REWRITE.get(keyword)
            for key, rewritten_value in (
                rewrite(self, value, _Site(schema, f"{place}/{keyword}", depth)) if rewrite else ()
            ):
                if key in result:
                    further.append({key: rewritten_value})
                else:
                    result[key] = rewritten_value
        return {"allOf": [result, *further]} if further else result

    def resolved(self, reference: str) -> Json:
        """What a reference leads to.

        Raises:
            SchemaRefused: Nothing of this document.
        """
        try:
            return lookup(self._root, reference)
        except LookupError:
            raise SchemaRefused(f"the reference {reference!r} leads nowhere") from None

    def reference(self, value: Json, site: _Site) -> Iterator[Clause]:
        if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
            raise site.refused("references lead to a place in the same schema, such as '#/$defs/name'")
        if value not in self._indices:
            self._indices[value] = len(self._indices)
            self._pending.append(value)
        yield "$ref", f"#/$defs/{self._indices[value]}"

    def subschema(self, value: Json, site: _Site) -> Iterator[Clause]:
        yield _keyword(site), self.schema(value, site.place, site.depth + 1)

    def subschemas(self, value: Json, site: _Site) -> Iterator[Clause]:
        yield _keyword(site), self._schema_list(value, site)

    def one_of(self, value: Json, site: _Site) -> Iterator[Clause]:
        choices = _list(value, site)
        if len(choices) > _MAX_CHOICES_TO_COMPARE:
            raise site.refused(f"at most {_MAX_CHOICES_TO_COMPARE} schemas can be told apart; use anyOf")
        for (i, one), (j, other) in pairs_of(enumerate(choices), 2):
            if not are_disjoint(one, other, self.resolved):
                raise site.refused(
                    f"a value may match both {i} and {j}; use anyOf, or tell them apart by type, or by a required "
                    "property with different constants"
                )
        yield "anyOf", self._schema_list(value, site)

    def items(self, value: Json, site: _Site) -> Iterator[Clause]:
        """One schema for all; or, in older drafts, one for each, and `additionalItems` for the rest."""
        if not isinstance(value, list):
            yield from self.subschema(value, site)
            return
        if "prefixItems" in site.schema:
            raise site.refused("a list of schemas cannot stand beside prefixItems")
        yield "prefixItems", self._schema_list(value, site)
        if "additionalItems" in site.schema:
            place = site.place.removesuffix("items") + "additionalItems"
            yield "items", self.schema(site.schema["additionalItems"], place, site.depth + 1)

    def properties(self, value: Json, site: _Site) -> Iterator[Clause]:
        schemas = _object(value, site)
        if len(schemas) > _MAX_PROPERTIES:
            raise site.refused(f"{len(schemas)} properties, of which {_MAX_PROPERTIES} can be enforced")
        _check_value(list(schemas), site)
        yield (
            "properties",
            {
                name: self.schema(schema, f"{site.place}/{_escaped(name)}", site.depth + 1)
                for name, schema in schemas.items()
            },
        )

    def pattern_properties(self, value: Json, site: _Site) -> Iterator[Clause]:
        result: JsonObject = {}
        for pattern, schema in _object(value, site).items():
            key = self._pattern(pattern, site)
            if key in result:
                raise site.refused(f"the pattern {pattern!r} is there twice")
            result[key] = self.schema(schema, f"{site.place}/{_escaped(pattern)}", site.depth + 1)
        yield "patternProperties", result

    def string_pattern(self, value: Json, site: _Site) -> Iterator[Clause]:
        if not isinstance(value, str):
            raise site.refused("a regular expression is expected")
        yield "pattern", self._pattern(value, site)

    def bound(self, value: Json, site: _Site) -> Iterator[Clause]:
        """The bound of a number; that of an integer alone is always exact."""
        keyword, number = _keyword(site), _number(value, site)
        add = self._numbers.add_lower if keyword.lower().endswith("minimum") else self._numbers.add_upper
        is_open = keyword.startswith("exclusive") and site.schema.get("type") != "integer"
        try:
            yield keyword, add(number, is_open=is_open)
        except NumbersRefused as error:
            raise site.refused(str(error)) from error

    def multiple(self, value: Json, site: _Site) -> Iterator[Clause]:
        number = _number(value, site)
        if number <= 0:
            raise site.refused("a number above 0 is expected")
        self._numbers.add_multiple(number)
        yield "multipleOf", value

    def _pattern(self, pattern: str, site: _Site) -> str:
        self._patterns_length += len(pattern)
        if len(pattern) > _MAX_PATTERN_LENGTH or self._patterns_length > _MAX_PATTERNS_LENGTH:
            limits = f"{_MAX_PATTERN_LENGTH} characters, all together {_MAX_PATTERNS_LENGTH}"
            raise site.refused(f"patterns have at most {limits}")
        try:
            return rewritten(pattern)
        except PatternRefused as error:
            raise site.refused(f"in the pattern {pattern!r}, {error}") from error

    def _schema_list(self, value: Json, site: _Site) -> list[Json]:
        schemas = _list(value, site)
        return [self.schema(schema, f"{site.place}/{i}", site.depth + 1) for i, schema in enumerate(schemas)]


def _keyword(site: _Site) -> str:
    return site.place.rpartition("/")[2]


def _types(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    types = value if isinstance(value, list) else [value]
    unknown = [type_ for type_ in types if type_ not in _TYPES]
    if unknown or not types:
        raise site.refused(f"types are {', '.join(sorted(_TYPES))}")
    yield "type", value


def _constant(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    _check_value(value, site)
    yield "const", value


def _constants(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    for item in _list(value, site):
        _check_value(item, site)
    yield "enum", value


def _count(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    number = _number(value, site)
    if number < 0 or number != int(number) or number > MAX_EXACT:
        raise site.refused("a whole number that is not negative is expected")
    yield _keyword(site), int(number)


def _min_properties(rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    required = site.schema.get("required")
    num_required = len(required) if isinstance(required, list) else 0
    for clause in _count(rewriter, value, site):
        if _number(value, site) > num_required + 1:
            raise site.refused("more than one property beyond the required ones cannot be enforced, as keys may repeat")
        yield clause


def _required(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    names = value if isinstance(value, list) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise site.refused("a list of names is expected")
    _check_value(names, site)
    yield "required", value


def _format(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    """Formats say something of strings only, and nothing where no string is allowed."""
    types = site.schema.get("type", "string")
    if "string" not in (types if isinstance(types, list) else [types]):
        return
    if not isinstance(value, str) or value not in PATTERNS:
        raise site.refused(f"the format {value!r} cannot be enforced; known are {', '.join(sorted(PATTERNS))}")
    yield "pattern", PATTERNS[value]
    if value in MAX_LENGTHS:
        yield "maxLength", MAX_LENGTHS[value]


def _refused(_rewriter: _Rewriter, value: Json, site: _Site) -> Iterator[Clause]:
    keyword = _keyword(site)
    if not any(keyword == harmless and value is without_effect for harmless, without_effect in _HARMLESS):
        raise site.refused(f"{keyword} cannot be enforced")
    yield from ()


def _identifier(_rewriter: _Rewriter, _value: Json, site: _Site) -> Iterator[Clause]:
    if site.place != "#/$id":
        raise site.refused("only the whole schema may have an $id")
    yield from ()


def _check_value(value: Json, site: _Site) -> None:
    for reason in unspeakable(value):
        raise site.refused(reason)


def _number(value: Json, site: _Site) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise site.refused("a number is expected")
    if not isfinite(value):
        raise site.refused("the number is too large")
    return value


def _list(value: Json, site: _Site) -> list[Json]:
    if not isinstance(value, list) or not value:
        raise site.refused("a list that is not empty is expected")
    return value


def _object(value: Json, site: _Site) -> JsonObject:
    if not isinstance(value, dict):
        raise site.refused("an object is expected")
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


_Rewrite = Callable[[_Rewriter, Json, _Site], Iterator[Clause]]

# Keywords that are not here describe, and are left out.
_REWRITE: Mapping[str, _Rewrite] = {
    **dict.fromkeys(_NOT_ENFORCED, _refused),
    **dict.fromkeys(("minItems", "maxItems", "maxProperties", "minLength", "maxLength"), _count),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"), _Rewriter.bound),
    **dict.fromkeys(("allOf", "anyOf", "prefixItems"), _Rewriter.subschemas),
    "$id": _identifier,
    "$ref": _Rewriter.reference,
    "additionalProperties": _Rewriter.subschema,
    "const": _constant,
    "enum": _constants,
    "format": _format,
    "items": _Rewriter.items,
    "minProperties": _min_properties,
    "multipleOf": _Rewriter.multiple,
    "oneOf": _Rewriter.one_of,
    "pattern": _Rewriter.string_pattern,
    "patternProperties": _Rewriter.pattern_properties,
    "properties": _Rewriter.properties,
    "required": _required,
    "type": _types,
}
