"""A JSON Schema as a small typed tree: `reader` builds it, every other module matches on its nodes.

The keywords of one schema object that apply to a type become the node of that type. Keywords that combine schemas
become nodes above those of the combined schemas. Several nodes for one schema object form an `AllOf`, in the order of
the keywords.

Nodes are not frozen, because freezing doubles the time to build them. No module changes a node.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from onward_server.json_value import Json


@dataclass(slots=True)
class Anything:
    """Every value."""

    place: str


@dataclass(slots=True)
class Never:
    """No value."""

    place: str


@dataclass(slots=True)
class Null:
    place: str


@dataclass(slots=True)
class Boolean:
    place: str


@dataclass(slots=True)
class Number:
    """Numbers, or only whole ones, within bounds."""

    place: str
    is_integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    excludes_minimum: bool = False
    excludes_maximum: bool = False
    multiple_of: float | None = None


@dataclass(slots=True)
class Text:
    """Strings in which every pattern matches somewhere; patterns are in the syntax of llguidance."""

    place: str
    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[str, ...] = ()


@dataclass(slots=True)
class Array:
    place: str
    rest: "Schema"
    """The schema of the items after `first`."""
    first: tuple["Schema", ...] = ()
    min_items: int = 0
    max_items: int | None = None


@dataclass(slots=True)
class Object:
    place: str
    additional: "Schema"
    """The schema of the properties that neither `properties` nor `patterns` names."""
    properties: Mapping[str, "Schema"] = field(default_factory=dict[str, "Schema"])
    patterns: Mapping[str, "Schema"] = field(default_factory=dict[str, "Schema"])
    required: tuple[str, ...] = ()
    min_properties: int = 0
    max_properties: int | None = None


@dataclass(slots=True)
class ByType:
    """Values of several types, at most one node for each type."""

    place: str
    alternatives: tuple["OfOneType", ...]


@dataclass(slots=True)
class Enum:
    """One of the listed values."""

    place: str
    values: tuple[Json, ...]


@dataclass(slots=True)
class AnyOf:
    place: str
    choices: tuple["Schema", ...]


@dataclass(slots=True)
class OneOf:
    """Exactly one of the choices; `disjoint` turns it into an `AnyOf`."""

    place: str
    choices: tuple["Schema", ...]
    types: frozenset[str]
    """The types that the other keywords of the schema allow."""


@dataclass(slots=True)
class AllOf:
    place: str
    demands: tuple["Schema", ...]


@dataclass(slots=True)
class Ref:
    """A reference to a definition of the document."""

    place: str
    name: str


OfOneType = Null | Boolean | Number | Text | Array | Object
Schema = Anything | Never | OfOneType | ByType | Enum | AnyOf | OneOf | AllOf | Ref


FREE: Mapping[str, OfOneType] = {
    "null": Null("#"),
    "boolean": Boolean("#"),
    "integer": Number("#", is_integer=True),
    "number": Number("#"),
    "string": Text("#"),
    "array": Array("#", Anything("#")),
    "object": Object("#", Anything("#")),
}
"""All values of a type."""


def of_types(types: Collection[str]) -> Schema:
    """All values of some types."""
    names = [name for name in FREE if name in types and (name != "integer" or "number" not in types)]
    return FREE[names[0]] if len(names) == 1 else ByType("#", tuple([FREE[name] for name in names]))


class SchemaRejected(Exception):
    """A schema that cannot be enforced; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A schema with the definitions that it refers to."""

    root: Schema
    definitions: Mapping[str, Schema]
    places: Mapping[str, str]
    """The place of each definition, as a JSON pointer."""
    problem: str | None
    """The first keyword that cannot be enforced, with its place; the tree omits such keywords."""
    num_patterns: int
    combines: bool
    """Whether several schemas apply to the same value anywhere in the document."""
