"""Rejects schemas that cannot be enforced: unsupported keywords, circular references, too many patterns."""

from collections.abc import Iterator, Mapping, Sequence

from onward_server.grammar.schema import tree
from onward_server.grammar.schema.reader import read
from onward_server.json_value import Json

_MAX_PATTERNS = 5
_MAX_DEFINITIONS = 2000


def enforceable(schema: Json) -> tree.Document:
    """Reads a schema and checks that every keyword in it can be enforced.

    Raises:
        SchemaRejected: A keyword cannot be enforced, or the schema is too large or too deep.
    """
    document = read(schema)
    if (reason := document.problem or _problem(document)) is not None:
        raise tree.SchemaRejected(reason)
    return document


def _problem(document: tree.Document) -> str | None:
    if document.definitions and (name := _circular(document.definitions)) is not None:
        return f"at {document.places[name]}: the schema refers to itself without a property or item in between"
    if len(document.definitions) > _MAX_DEFINITIONS:
        return f"it refers to {len(document.definitions)} schemas; at most {_MAX_DEFINITIONS} can be enforced"
    if document.combines and document.num_patterns > _MAX_PATTERNS:
        counts: dict[str, int] = {}
        if _num_patterns(document.root, document.definitions, counts) > _MAX_PATTERNS:
            return f"a string has to match more than {_MAX_PATTERNS} patterns and formats"
    return None


def _circular(definitions: Mapping[str, tree.Schema]) -> str | None:
    """The name of a definition that refers back to itself for the same value; None if there is no such definition."""
    done: set[str] = set()
    for start in definitions:
        path = {start: _referred(definitions[start])}
        while path:
            name = next(reversed(path))
            target = next((target for target in path[name] if target not in done), None)
            if target is None:
                done.add(name)
                del path[name]
            elif target in path:
                return target
            else:
                path[target] = _referred(definitions[target])
    return None


def _referred(schema: tree.Schema) -> Iterator[str]:
    """The definitions that a schema applies to the value itself rather than to its items or properties."""
    match schema:
        case tree.Ref(name=name):
            yield name
        case tree.AllOf(demands=schemas) | tree.AnyOf(choices=schemas) | tree.OneOf(choices=schemas):
            for combined in schemas:
                yield from _referred(combined)
        case _:
            return


def _num_patterns(schema: tree.Schema, definitions: Mapping[str, tree.Schema], known: dict[str, int]) -> int:
    """An upper bound on the number of patterns that one string must match, be it the value itself or inside it."""
    match schema:
        case tree.Text(patterns=patterns):
            return len(patterns)
        case tree.Ref(name=name):
            if name not in known:
                known[name] = 0  # for a reference back to this one
                known[name] = _num_patterns(definitions[name], definitions, known)
            return known[name]
        case tree.AllOf(demands=demands):
            return sum(_num_patterns(demand, definitions, known) for demand in demands)
        case tree.AnyOf(choices=choices) | tree.OneOf(choices=choices) | tree.ByType(alternatives=choices):
            parts: Sequence[tree.Schema] = choices
        case tree.Array(first=first, rest=rest):
            parts = (*first, rest)
        case tree.Object(properties=named, patterns=by_pattern, additional=rest):
            parts = (*named.values(), *by_pattern.values(), rest)
        case _:
            parts = ()
    return max((_num_patterns(part, definitions, known) for part in parts), default=0)
