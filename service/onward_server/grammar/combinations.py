"""Bounds what a compiler has to try out for a JSON schema; it knows schemas after their rewriting only.

A compiler works out every way to combine the alternatives that hold for one value, and descends from reference to
reference on its stack: neither has a limit of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from onward_server.grammar.values import Json

MAX_WAYS = 500
_MAX_PATTERNS = 5
_MAX_TOTAL_DEPTH = 2000
_CEILING = 10**6
_MAPS = ("properties", "patternProperties")
_SINGLES = ("items", "additionalProperties")


class TooManyCombinations(Exception):
    """A definition takes too long to compile."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description
        super().__init__(f"{name}: {description}")


@dataclass(frozen=True, slots=True)
class _Size:
    """What there is to combine for one value, or for a part of it where that has more."""

    num_alternatives: int = 1
    num_patterns: int = 0
    """That one string has to match."""
    num_ways: int = 0
    """To combine alternatives of several sources, all places together."""
    depth: int = 0


def circular(definitions: Mapping[str, Json]) -> str | None:
    """A definition that leads back to itself for one and the same value, if any: no value would ever be decided."""
    done: set[str] = set()
    for start in definitions:
        path = [(start, _demanded(definitions[start]))]
        while path:
            name, references = path[-1]
            target = next((target for target in references if target not in done), None)
            if target is None:
                done.add(name)
                path.pop()
            elif any(target == other for other, _ in path):
                return target
            else:
                path.append((target, _demanded(definitions[target])))
    return None


def _demanded(schema: Json) -> Iterator[str]:
    """The definitions that a value must match, or may, to match a schema: those of its parts aside."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield _target(schema)
        for combined in (*_list(schema, "allOf"), *_list(schema, "anyOf")):
            yield from _demanded(combined)


def count(definitions: Mapping[str, Json]) -> int:
    """The ways to combine what is in definitions that refer to each other by name.

    Raises:
        TooManyCombinations: One of them is beyond a limit.
    """
    sizes: dict[str, _Size] = {}
    for name in _leaves_first(definitions):
        size = sizes[name] = _size(definitions[name], sizes)
        if size.num_patterns > _MAX_PATTERNS:
            raise TooManyCombinations(name, f"a string has to match more than {_MAX_PATTERNS} patterns and formats")
    if sum(size.depth for size in sizes.values()) > _MAX_TOTAL_DEPTH:
        raise TooManyCombinations("0", f"the schemas that it refers to are more than {_MAX_TOTAL_DEPTH} deep together")
    num_ways = sum(size.num_ways for size in sizes.values())
    if num_ways > MAX_WAYS:
        widest = max(sizes, key=lambda name: sizes[name].num_ways)
        raise TooManyCombinations(widest, f"its alternatives can be combined in more than {MAX_WAYS} ways")
    return num_ways


def _leaves_first(definitions: Mapping[str, Json]) -> Iterator[str]:
    """Every name after those that it refers to, cycles aside."""
    seen = {"0"}
    path = [("0", _references(definitions["0"]))]
    while path:
        name, references = path[-1]
        target = next((target for target in references if target not in seen), None)
        if target is None:
            yield name
            path.pop()
        else:
            seen.add(target)
            path.append((target, _references(definitions[target])))


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield _target(schema)
        for child in _children(schema):
            yield from _references(child)


def _target(schema: Mapping[str, Json]) -> str:
    return str(schema["$ref"]).removeprefix("#/$defs/")


def _children(schema: Mapping[str, Json]) -> Iterator[Json]:
    yield from _list(schema, "allOf")
    yield from _list(schema, "anyOf")
    yield from _parts(schema)


def _parts(schema: Mapping[str, Json]) -> Iterator[Json]:
    """The schemas for parts of the value."""
    yield from _list(schema, "prefixItems")
    for key in _MAPS:
        children = schema.get(key)
        yield from children.values() if isinstance(children, dict) else ()
    for key in _SINGLES:
        if key in schema:
            yield schema[key]


def _size(schema: Json, sizes: Mapping[str, _Size]) -> _Size:
    """The size of a schema, given those it refers to; of one in a cycle, less is known."""
    if not isinstance(schema, dict):
        return _Size()
    demands = [_size(demand, sizes) for demand in _list(schema, "allOf")]
    referred = [sizes.get(_target(schema), _Size())] if "$ref" in schema else []
    choices = [_size(choice, sizes) for choice in _list(schema, "anyOf")]
    parts = [_size(part, sizes) for part in _parts(schema)]
    factors = [demand.num_alternatives for demand in (*demands, *referred)]
    factors.append(sum(choice.num_alternatives for choice in choices))
    combined = [factor for factor in factors if factor > 1]
    patterns = ("pattern" in schema) + sum(demand.num_patterns for demand in (*demands, *referred))
    patterns += max((choice.num_patterns for choice in choices), default=0)
    own = [*demands, *choices, *parts]
    return _Size(
        num_alternatives=min(_CEILING, max(prod(combined), *(part.num_alternatives for part in parts), 1)),
        num_patterns=max(patterns, *(part.num_patterns for part in parts), 0),
        num_ways=(prod(combined) if len(combined) > 1 else 0) + sum(size.num_ways for size in own),
        depth=1 + max((size.depth for size in own), default=0),
    )


def _list(schema: Mapping[str, Json], key: str) -> list[Json]:
    value = schema.get(key)
    return value if isinstance(value, list) else []
