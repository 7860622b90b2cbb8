"""Rejects what cannot be enforced: unsupported keywords, references in a circle, strings with many patterns."""

from collections.abc import Iterator, Mapping

from onward_server.grammar.schema.reader import read
from onward_server.grammar.schema.tree import (
    AllOf,
    AnyOf,
    Array,
    ByType,
    Document,
    Object,
    OneOf,
    Ref,
    Schema,
    SchemaRejected,
    Text,
    parts,
)
from onward_server.json_value import Json

_MAX_PATTERNS = 5
_MAX_DEFINITIONS = 2000


def enforceable(schema: Json) -> Document:
    """Reads a schema whose every keyword can be enforced.

    Raises:
        SchemaRejected: It holds a keyword that cannot be enforced, or is too large or too deep.
    """
    document = read(schema)
    if (reason := document.problem or _problem(document)) is not None:
        raise SchemaRejected(reason)
    return document


def _problem(document: Document) -> str | None:
    if document.definitions and (name := _circular(document.definitions)) is not None:
        return f"at {document.places[name]}: it leads back to itself, with no value in between"
    if len(document.definitions) > _MAX_DEFINITIONS:
        return f"it refers to {len(document.definitions)} schemas; at most {_MAX_DEFINITIONS} can be enforced"
    if document.combines and document.num_patterns > _MAX_PATTERNS:
        counts: dict[str, int] = {}
        if _num_patterns(document.root, document.definitions, counts) > _MAX_PATTERNS:
            return f"a string has to match more than {_MAX_PATTERNS} patterns and formats"
    return None


def _circular(definitions: Mapping[str, Schema]) -> str | None:
    """The name of a definition that leads back to itself for one and the same value, if any."""
    done: set[str] = set()
    for start in definitions:
        path = {start: _demanded(definitions[start])}
        while path:
            name = next(reversed(path))
            target = next((target for target in path[name] if target not in done), None)
            if target is None:
                done.add(name)
                del path[name]
            elif target in path:
                return target
            else:
                path[target] = _demanded(definitions[target])
    return None


def _demanded(schema: Schema) -> Iterator[str]:
    """The definitions that a value must match, or may, to match a schema; those of its parts not included."""
    match schema:
        case Ref(name=name):
            yield name
        case AllOf(demands=schemas) | AnyOf(choices=schemas) | OneOf(choices=schemas):
            for combined in schemas:
                yield from _demanded(combined)
        case _:
            return


def _num_patterns(schema: Schema, definitions: Mapping[str, Schema], known: dict[str, int]) -> int:
    """How many patterns one string may have to match, be it the value or a part of it; an upper bound."""
    match schema:
        case Text(patterns=patterns):
            return len(patterns)
        case Ref(name=name):
            if name not in known:
                known[name] = 0  # for a reference back to here
                known[name] = _num_patterns(definitions[name], definitions, known)
            return known[name]
        case AllOf(demands=demands):
            return sum(_num_patterns(demand, definitions, known) for demand in demands)
        case AnyOf(choices=inner) | OneOf(choices=inner) | ByType(alternatives=inner):
            return max(_num_patterns(choice, definitions, known) for choice in inner)
        case Array() | Object():
            return max(_num_patterns(part, definitions, known) for part in parts(schema))
        case _:
            return 0
