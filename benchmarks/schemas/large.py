"""Large schemas: hundreds of properties, definitions, alternatives and constants."""

from collections.abc import Callable, Mapping
from random import Random

from benchmarks.schemas.json_value import Json, JsonObject
from benchmarks.schemas.seed import Seed

_SCALARS: tuple[tuple[JsonObject, Json], ...] = (
    ({"type": "string"}, "text"),
    ({"type": "string", "maxLength": 40, "description": "A label."}, "label"),
    ({"type": "integer", "minimum": 0}, 7),
    ({"type": "number"}, -2.5),
    ({"type": "boolean", "default": False}, True),
    ({"type": ["string", "null"]}, None),
    ({"type": "string", "enum": ["low", "medium", "high"]}, "high"),
    ({"type": "string", "format": "date-time"}, "2024-03-01T12:30:00Z"),
    ({"type": "array", "items": {"type": "string"}}, ["a", "b"]),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"k": "v"}),
    ({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+%$"}]}, "50%"),
    ({"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]+$"}, "AB-1"),
)


def many_properties(random: Random, count: int) -> tuple[JsonObject, JsonObject]:
    """Properties of all kinds, and a value of each."""
    properties: JsonObject = {}
    values: JsonObject = {}
    for number in range(count):
        schema, value = random.choice(_SCALARS)
        name = random.choice((f"field_{number}", f"camelCase{number}", f"kebab-case-{number}"))
        properties[name], values[name] = schema, value
    return properties, values


def _wide(count: int, *, is_closed: bool, num_required: int) -> Callable[[Random], Seed]:
    def make(random: Random) -> Seed:
        properties, full = many_properties(random, count)
        required = [name for name in properties if name in set(random.sample(list(properties), num_required))]
        schema = {"type": "object", "properties": properties, "required": required}
        needed = {name: full[name] for name in required}
        return Seed({**schema, **({"additionalProperties": False} if is_closed else {})}, (full, needed), ({},))

    return make


def _long_enum(count: int) -> Callable[[Random], Seed]:
    def make(random: Random) -> Seed:
        names = [f"{random.choice(('Europe', 'Asia', 'America'))}/City {number}" for number in range(count)]
        schema = {"type": "object", "properties": {"zone": {"type": "string", "enum": names}}, "required": ["zone"]}
        return Seed(schema, ({"zone": names[0]}, {"zone": names[-1]}), ({"zone": "Europe/City"},))

    return make


def _long_union(count: int) -> Callable[[Random], Seed]:
    def make(random: Random) -> Seed:
        choices: list[Json] = []
        valid: list[Json] = []
        for number in range(count):
            properties, values = many_properties(random, 4)
            schema = {"type": "object", "properties": {"type": {"const": f"Event{number}"}, **properties}}
            choices.append({**schema, "required": ["type", *properties], "additionalProperties": False})
            valid.append({"type": f"Event{number}", **values})
        return Seed({"oneOf": choices}, (valid[0], valid[-1]), ({**valid[0], "type": "Event"},))

    return make


def _many_definitions(count: int) -> Callable[[Random], Seed]:
    """A chain of definitions, each with properties of its own, as a generator writes an API's models."""

    def make(random: Random) -> Seed:
        definitions: JsonObject = {}
        value: Json = None
        for number in reversed(range(count)):
            properties, full = many_properties(random, 6)
            if value is not None:
                properties["next"] = {"$ref": f"#/$defs/Model{number + 1}"}
                full["next"] = value
            definitions[f"Model{number}"] = {"type": "object", "properties": properties}
            value = full if number % 5 == 0 else {"next": value} if value is not None else {}
        return Seed({"$ref": "#/$defs/Model0", "$defs": definitions}, (value, {}), ([],))

    return make


LARGE: Mapping[str, Callable[[Random], Seed]] = {
    **{
        f"large/{count} optional properties": _wide(count, is_closed=False, num_required=0)
        for count in (50, 100, 200, 400, 800)
    },
    **{
        f"large/{count} closed properties": _wide(count, is_closed=True, num_required=5)
        for count in (50, 150, 300, 600)
    },
    **{
        f"large/{count} required properties": _wide(count, is_closed=True, num_required=count)
        for count in (40, 120, 250)
    },
    **{f"large/enum of {count}": _long_enum(count) for count in (50, 200, 600, 1500)},
    **{f"large/union of {count}": _long_union(count) for count in (5, 20, 60, 120)},
    **{f"large/{count} definitions": _many_definitions(count) for count in (10, 40, 100)},
}
