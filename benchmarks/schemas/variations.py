"""Variations of a schema: wrapped, respelled and composed as real schemas are, with instances that follow."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from zlib import crc32

from benchmarks.schemas.json_value import Json, JsonObject, is_array, is_object
from benchmarks.schemas.large import many_properties
from benchmarks.schemas.seed import Seed

_PARTNERS: tuple[str, ...] = (
    "openapi/error",
    "openapi/link relations",
    "packages/scripts by pattern",
    "forms/street address",
    "events/analytics",
    "config/feature flags",
    "geo/coordinates",
    "commerce/money",
    "calendar/reminder",
    "tools/classify",
    "records/contact card",
    "i18n/localized text",
    "trees/linked list",
    "numbers/cents",
    "strings/uuid",
)
_SUBSCHEMAS = ("items", "additionalProperties", "additionalItems", "not")
_SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SUBSCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions")


Variation = Callable[[Random, Seed, Sequence[Seed]], Seed | None]
"""Varies a seed, with some others at hand; None where it does not apply."""


def partner_names(name: str) -> list[str]:
    """The names of the seeds that a seed is composed with."""
    return sorted(_PARTNERS, key=lambda partner: crc32(f"{name}, {partner}".encode()))[:4]


def _named(seed: Seed, name: str) -> tuple[JsonObject, JsonObject]:
    """A reference to a schema, and the definition that it leads to, with its own references led there too."""
    place = f"#/$defs/{name}"

    def moved(schema: Json) -> Json:
        result = _mapped(schema, moved)
        if is_object(result) and isinstance(reference := result.get("$ref"), str):
            result["$ref"] = place + reference.removeprefix("#")
        return result

    definition = {key: value for key, value in moved(seed.schema).items() if key not in ("$schema", "$id", "id")}
    return {"$ref": place}, {name: definition}


def _mapped(schema: Json, change: Callable[[Json], Json]) -> Json:
    """A copy of a schema with each direct subschema changed; other keywords that hold schemas count as definitions."""
    if not is_object(schema):
        return schema
    result: JsonObject = {}
    for key, value in schema.items():
        if key in _SUBSCHEMA_MAPS and is_object(value):
            result[key] = {name: change(part) for name, part in value.items()}
        elif key in _SUBSCHEMA_LISTS and is_array(value):
            result[key] = [change(part) for part in value]
        elif key in _SUBSCHEMAS:
            result[key] = change(value)
        elif key == "components":
            result[key] = {"schemas": {name: change(part) for name, part in value["schemas"].items()}}
        else:
            result[key] = value
    return result


def _everywhere(schema: Json, change: Callable[[JsonObject], JsonObject]) -> Json:
    """A copy of a schema with each object in it that is a schema changed, the innermost first."""
    result = _mapped(schema, lambda part: _everywhere(part, change))
    return change(result) if is_object(result) else result


def _root(seed: Seed, schema: JsonObject, definitions: JsonObject) -> JsonObject:
    """A new root schema, of the draft that the seed names."""
    draft = seed.schema.get("$schema")
    return {**({"$schema": draft} if draft else {}), **schema, "$defs": definitions}


def _respelled(seed: Seed, change: Callable[[JsonObject], JsonObject]) -> Seed:
    return Seed(_everywhere(seed.schema, change), seed.valid, seed.invalid)


def _listed(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Item")
    limits = random.choice(({}, {"minItems": 1}, {"maxItems": 5}, {"minItems": 1, "maxItems": 20}))
    schema = _root(seed, {"type": "array", "items": reference, **limits}, definitions)
    return Seed(schema, (list(seed.valid), [seed.valid[0]]), tuple([one] for one in seed.invalid))


def _paged(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Resource")
    key = random.choice(("data", "items", "results"))
    page = {"type": "object", "properties": {"number": {"type": "integer", "minimum": 1}, "size": {"type": "integer"}}}
    properties = {key: {"type": "array", "items": reference}, "page": page, "total": {"type": "integer", "minimum": 0}}
    schema = _root(seed, {"type": "object", "properties": properties, "required": [key, "total"]}, definitions)
    valid = {key: list(seed.valid), "page": {"number": 1, "size": 20}, "total": 21}
    return Seed(schema, (valid, {key: [], "total": 0}), tuple({key: [one], "total": 1} for one in seed.invalid))


def _nullable(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Value")
    schema = _root(seed, {"anyOf": [reference, {"type": "null"}]}, definitions)
    return Seed(schema, (*seed.valid, None), seed.invalid)


def _enveloped(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Payload")
    type_ = random.choice(("order.created", "user/updated", "v1.Changed"))
    properties = {"id": {"type": "string", "format": "uuid"}, "type": {"const": type_}, "data": reference}
    schema = {"type": "object", "properties": properties, "required": ["id", "type", "data"]}
    schema |= {"additionalProperties": False} if random.random() < 0.5 else {}
    start = {"id": "123e4567-e89b-12d3-a456-426614174000", "type": type_}
    invalid = tuple({**start, "data": one} for one in seed.invalid)
    return Seed(_root(seed, schema, definitions), tuple({**start, "data": one} for one in seed.valid), invalid)


def _tagged(random: Random, seed: Seed, partners: Sequence[Seed]) -> Seed:
    definitions: JsonObject = {}
    choices: list[Json] = []
    valid: list[Json] = []
    tag = random.choice(("type", "kind", "@type"))
    for number, one in enumerate([seed, *partners[: random.randint(1, 3)]]):
        reference, definition = _named(one, f"Variant{number}")
        definitions |= definition
        properties = {tag: {"const": f"variant_{number}"}, "value": reference}
        choices.append({"type": "object", "properties": properties, "required": [tag, "value"]})
        valid += [{tag: f"variant_{number}", "value": value} for value in one.valid[:2]]
    invalid = tuple({tag: "variant_0", "value": one} for one in seed.invalid)
    return Seed(_root(seed, {"oneOf": choices}, definitions), tuple(valid), invalid)


def _by_name(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Entry")
    if random.random() < 0.5:
        schema: JsonObject = {"type": "object", "additionalProperties": reference}
    else:
        schema = {"type": "object", "patternProperties": {"^[a-z]+_[0-9]+$": reference}, "additionalProperties": False}
    valid = {f"key_{number}": one for number, one in enumerate(seed.valid)}
    return Seed(_root(seed, schema, definitions), (valid, {}), tuple({"key_1": one} for one in seed.invalid))


def _extended(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    if seed.schema.get("type") != "object":
        return None
    if seed.schema.get("additionalProperties", True) is not True or "patternProperties" in seed.schema:
        return None
    reference, definitions = _named(seed, "Derived")
    base = {"type": "object", "properties": {"resource_id": {"type": "integer"}}, "required": ["resource_id"]}
    schema = _root(seed, {"allOf": [{"$ref": "#/$defs/Base"}, reference]}, {"Base": base, **definitions})
    valid = tuple({"resource_id": 1, **one} for one in seed.valid)
    return Seed(schema, valid, tuple({"resource_id": 1, **one} for one in seed.invalid if is_object(one)))


def _combined(random: Random, seed: Seed, partners: Sequence[Seed]) -> Seed:
    parts = {"main": seed, **dict(zip(("extra", "meta", "other"), partners, strict=False))}
    definitions: JsonObject = {}
    properties: JsonObject = {}
    for name, one in parts.items():
        properties[name], definition = _named(one, name.title())
        definitions |= definition
    required = [name for name in properties if name == "main" or random.random() < 0.5]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    full = {name: one.valid[0] for name, one in parts.items()}
    needed = {name: one.valid[-1] for name, one in parts.items() if name in required}
    return Seed(_root(seed, schema, definitions), (full, needed), tuple({**full, "main": one} for one in seed.invalid))


def _recursive(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    reference, definitions = _named(seed, "Content")
    children = {"type": "array", "items": {"$ref": "#/$defs/Node"}}
    node = {"type": "object", "properties": {"content": reference, "children": children}, "required": ["content"]}
    definitions |= {"Node": {**node, "additionalProperties": False}}
    first = {"content": seed.valid[0]}
    valid = ({"content": seed.valid[-1], "children": [first, {**first, "children": [first]}]}, first)
    return Seed(
        _root(seed, {"$ref": "#/$defs/Node"}, definitions), valid, tuple({"content": one} for one in seed.invalid)
    )


def _nested(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    schema, definitions = _named(seed, "Core")
    valid, invalid = list(seed.valid), list(seed.invalid)
    for level in range(random.randint(4, 18)):
        key = f"level{level}"
        schema = {"type": "object", "properties": {key: schema}, "required": [key]}
        valid, invalid = [{key: one} for one in valid], [{key: one} for one in invalid]
    return Seed(_root(seed, schema, definitions), tuple(valid), tuple(invalid))


def _closed(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    def close(schema: JsonObject) -> JsonObject:
        is_open = "properties" in schema and "additionalProperties" not in schema and "patternProperties" not in schema
        is_open = is_open and "required" in schema and set(schema["required"]) <= schema["properties"].keys()
        return {**schema, "additionalProperties": False} if is_open else schema

    if "allOf" in json.dumps(seed.schema):
        return None
    return _respelled(seed, close)


def _annotated(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    notes: tuple[JsonObject, ...] = (
        {"description": 'As the documentation of "v2" says.'},
        {"title": "Value", "x-order": 3},
        {"example": {"any": ["thing"]}, "deprecated": True},
        {"default": None, "$comment": "kept for old clients"},
        {"x-nullable": False, "readOnly": True},
    )
    return _respelled(seed, lambda schema: {**random.choice(notes), **schema})


def _strict(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    """All properties required and no others allowed, optional ones may be null: as strict tools are written."""

    def fill(schema: JsonObject) -> JsonObject:
        if "properties" not in schema or schema.get("type") != "object" or "patternProperties" in schema:
            return schema
        needed = schema.get("required", [])
        properties = {
            name: part if name in needed else {"anyOf": [part, {"type": "null"}]}
            for name, part in schema["properties"].items()
        }
        return {**schema, "properties": properties, "required": list(properties), "additionalProperties": False}

    schema = seed.schema
    if schema.get("type") != "object" or not schema.get("properties"):
        return None
    if any(word in json.dumps(schema) for word in ("allOf", "#/properties", '"#"')):
        return None
    top = fill({key: value for key, value in schema.items() if key not in ("patternProperties", "minProperties")})
    valid = tuple({name: one.get(name) for name in top["properties"]} for one in seed.valid)
    return Seed(top, valid, seed.invalid)


def _old_definitions(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    text = json.dumps(seed.schema)
    if "#/$defs/" not in text or "definitions" in text:
        return None
    schema = json.loads(text.replace('"#/$defs/', '"#/definitions/').replace('"$defs":', '"definitions":'))
    return Seed({"$schema": "http://json-schema.org/draft-07/schema#", **schema}, seed.valid, seed.invalid)


def _hoisted(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    """Every property's schema as a definition, as generators write it."""
    if "properties" not in seed.schema or "$defs" in seed.schema:
        return None
    if "#/properties" in json.dumps(seed.schema):
        return None
    parts = list(seed.schema["properties"].items())
    definitions = {f"Property{number}": part for number, (_, part) in enumerate(parts)}
    properties = {name: {"$ref": f"#/$defs/Property{number}"} for number, (name, _) in enumerate(parts)}
    return Seed({**seed.schema, "properties": properties, "$defs": definitions}, seed.valid, seed.invalid)


def _sloppy(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    """Types left out where properties or items say them, or written as lists; constants as an enum."""

    def respell(schema: JsonObject) -> JsonObject:
        result = dict(schema)
        if "const" in result and random.random() < 0.5:
            result = {
                ("enum" if key == "const" else key): [value] if key == "const" else value
                for key, value in result.items()
            }
        if isinstance(result.get("type"), str) and random.random() < 0.3:
            result["type"] = [result["type"]]
        if result.get("required") == []:
            del result["required"]
        return result

    return _respelled(seed, respell)


def _untyped(_random: Random, seed: Seed, _: Sequence[Seed]) -> Seed | None:
    if seed.schema.get("type") != "object" or "properties" not in seed.schema:
        return None
    schema = {key: value for key, value in seed.schema.items() if key != "type"}
    return Seed(schema, (*seed.valid, 7), seed.invalid)


def _tool(_random: Random, seed: Seed, partners: Sequence[Seed]) -> Seed:
    """Parameters of a function: one or two arguments of composed types, described at length."""
    first, definitions = _named(seed, "first")
    second, more = _named(partners[0], "second")
    properties = {
        "value": {"description": "The value to store. It replaces what is there.", **first},
        "context": second,
        "dry_run": {"type": "boolean", "description": "Only report what would be done."},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["value", "dry_run"],
        "additionalProperties": False,
    }
    if str(seed.schema.get("$schema", "")).count("draft-0"):
        properties["value"] = first  # before 2019-09, nothing beside a reference counts
    valid = ({"value": seed.valid[0], "context": partners[0].valid[0], "dry_run": True},)
    valid += tuple({"value": one, "dry_run": False} for one in seed.valid[1:])
    invalid = tuple({"value": one, "dry_run": False} for one in seed.invalid)
    return Seed(_root(seed, schema, {**definitions, **more}), valid, invalid)


def _widened(random: Random, seed: Seed, _: Sequence[Seed]) -> Seed:
    """One property among many, most of them optional."""
    reference, definitions = _named(seed, "Special")
    properties, full = many_properties(random, random.randint(20, 60))
    properties["special"], full["special"] = reference, seed.valid[0]
    required = ["special", *random.sample(list(properties)[:-1], 3)]
    schema = {"type": "object", "properties": properties, "required": required}
    needed = {name: value for name, value in full.items() if name in required}
    invalid = tuple({**needed, "special": one} for one in seed.invalid)
    return Seed(_root(seed, schema, definitions), (full, needed), invalid)


VARIATIONS: Mapping[str, Variation] = {
    "annotated": _annotated,
    "by name": _by_name,
    "closed": _closed,
    "combined": _combined,
    "enveloped": _enveloped,
    "extended": _extended,
    "hoisted": _hoisted,
    "listed": _listed,
    "nested": _nested,
    "nullable": _nullable,
    "old definitions": _old_definitions,
    "paged": _paged,
    "recursive": _recursive,
    "sloppy": _sloppy,
    "strict": _strict,
    "tagged": _tagged,
    "tool": _tool,
    "untyped": _untyped,
    "widened": _widened,
}
