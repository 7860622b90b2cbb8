"""Resolves the references of one JSON Schema document: pointers, anchors and the ids of schemas in it."""

from dataclasses import dataclass
from urllib.parse import unquote, urldefrag, urljoin

from onward_server.json_value import Json

_NAMING = ("$id", "id", "$anchor", "$dynamicAnchor")
_VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords that hold values rather than schemas."""


@dataclass(frozen=True, slots=True)
class Target:
    """A schema in the document."""

    schema: Json
    place: str
    """JSON pointer from the root of the document, such as `#/$defs/name`."""
    base: str
    """The URI that its references are relative to; empty if no `$id` sets one."""


_AMBIGUOUS = Target(None, "", "")


class References:
    """Resolves references within the document; a reference to a file or another URL is not found."""

    def __init__(self, root: Json) -> None:
        old_id = root.get("id", "") if isinstance(root, dict) else ""
        self._root = Target(root, "#", base_of(root, urldefrag(old_id)[0] if isinstance(old_id, str) else ""))
        self._resources: dict[str, Target] | None = None
        self._anchors: dict[tuple[str, str], Target] = {}
        self._resolved: dict[tuple[str, str], Target] = {}

    @property
    def base(self) -> str:
        """The base URI of the document."""
        return self._root.base

    def resolve(self, reference: str, base: str) -> Target:
        """The schema that a reference in a schema with this base URI refers to.

        Raises:
            LookupError: The document has no such schema, or two of that name.
            ValueError: The reference is not a URI.
        """
        key = (base, reference)
        if key not in self._resolved:
            self._resolved[key] = self._looked_up(reference, base)
        if (target := self._resolved[key]) is _AMBIGUOUS:
            raise LookupError(reference)
        return target

    def _looked_up(self, reference: str, base: str) -> Target:
        uri, fragment = urldefrag(urljoin(base, reference)) if not reference.startswith("#") else (base, reference[1:])
        resource = self._root if uri == self._root.base else self._indexed()[uri]
        if fragment and not fragment.startswith("/"):
            self._indexed()
            return self._anchors[uri, unquote(fragment)]
        return _followed(resource, fragment)

    def _indexed(self) -> dict[str, Target]:
        """Every schema with an id, by its URI; `_AMBIGUOUS` where two have the same one."""
        if self._resources is None:
            self._resources = {}
            pending = [self._root]
            while pending:
                target = pending.pop()
                self._index(target, self._resources)
                pending += _children(target)
        return self._resources

    def _index(self, target: Target, resources: dict[str, Target]) -> None:
        if not isinstance(target.schema, dict):
            return
        for keyword in _NAMING:
            name = target.schema.get(keyword)
            if not isinstance(name, str):
                continue
            if keyword in ("$anchor", "$dynamicAnchor") or name.startswith("#"):
                key = (target.base, name.removeprefix("#"))
                self._anchors[key] = target if key not in self._anchors else _AMBIGUOUS
            elif keyword == "$id":
                resources[target.base] = target if target.base not in resources else _AMBIGUOUS


def base_of(schema: Json, base: str) -> str:
    """The base URI inside a schema; `base` is the one around it."""
    identifier = schema.get("$id") if isinstance(schema, dict) else None
    if not isinstance(identifier, str) or identifier.startswith("#"):
        return base
    try:
        return urldefrag(urljoin(base, identifier))[0]
    except ValueError:
        return base


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def _followed(resource: Target, pointer: str) -> Target:
    value, base = resource.schema, resource.base
    for part in pointer.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise LookupError(pointer)
        base = base_of(value, base)
    return Target(value, f"{resource.place}{pointer}", base)


def _children(target: Target) -> list[Target]:
    match target.schema:
        case dict() as members:
            children = [(escaped(name), value) for name, value in members.items()]
        case list() as items:
            children = [(str(index), value) for index, value in enumerate(items)]
        case _:
            return []
    return [
        Target(value, f"{target.place}/{name}", base_of(value, target.base))
        for name, value in children
        if isinstance(value, dict | list) and name not in _VALUES
    ]
