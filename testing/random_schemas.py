"""Generates JSON schemas of tool arguments that combine every keyword with every other."""

from collections.abc import Sequence
from random import Random
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        5,
        5.0,
        2.5,
        -1,
        "",
        "a",
        "ab",
        "5",
        "true",
        "null",
        "None",
        '"a"',
        "[1]",
        "{}",
        " a",
        "a\n",
    ),
    *("</parameter", '<|"|', "é", [], [1], ["a", {"b": None}], {"a": 1}, {"a b": ["c"]}),
)
_TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
_PATTERNS = ("^a", "b$", "^[a-c0-9]*$", "a|^b$", "5")


_DEFINITIONS = ("x", "y", "z")
_RECURSIVE: dict[str, Any] = {"type": ["array", "null"], "items": {"$ref": "#/$defs/recursive"}, "maxItems": 2}


def random_schema(random: Random) -> dict[str, Any]:
    """A schema whose root describes objects; a definition refers to later ones only, so that every value can end."""
    later = {name: (*_DEFINITIONS[number + 1 :], "recursive") for number, name in enumerate(_DEFINITIONS)}
    root = _Schemas(random, (*_DEFINITIONS, "recursive"))
    schema = root.object(3)
    if random.random() < 0.15:
        schema = {random.choice(("anyOf", "allOf")): [root.object(2) for _ in range(2)], "type": "object"}
    definitions = {name: _Schemas(random, names).any(2) for name, names in later.items()}
    return {**schema, "$defs": {**definitions, "recursive": _RECURSIVE}}


class _Schemas:
    """Each method generates one kind of schema, nested at most `depth` deep."""

    def __init__(self, random: Random, definitions: Sequence[str]) -> None:
        self._random = random
        self._definitions = definitions

    def any(self, depth: int) -> Any:  # noqa: ANN401  JSON of any kind
        kinds = [self._plain, self._text, self._listed, self._number, self._mixed]
        deep = [self._combined, self._reference, self._array, self.object]
        return self._random.choice([*kinds, *deep] if depth > 0 else [self._plain])(depth - 1)

    def object(self, depth: int) -> dict[str, Any]:
        names = self._random.sample(["a", "b", "c", "d e", "f:g"], self._random.randint(0, 3))
        further = {
            "type": "object",
            "required": [name for name in names if self._happens(0.6)] + ["z"] * self._happens(0.1),
            "additionalProperties": False if self._happens(0.6) else self.any(depth - 1),
            "minProperties": 1,
            "maxProperties": self._random.randint(1, 3),
        }
        likely = {
            "type": 0.7,
            "required": 0.6,
            "additionalProperties": 0.7,
            "minProperties": 0.15,
            "maxProperties": 0.15,
        }
        kept = {key: value for key, value in further.items() if self._happens(likely[key])}
        return {"properties": {name: self.any(depth) for name in names}, **kept}

    def _plain(self, _depth: int) -> Any:  # noqa: ANN401  a schema may be true
        return self._random.choice([True, {}, *({"type": type_} for type_ in _TYPES[:5])])

    def _text(self, _depth: int) -> dict[str, Any]:
        limits = {"minLength": self._random.randint(0, 3), "maxLength": self._random.randint(0, 6)}
        pattern = {"pattern": self._random.choice(_PATTERNS)}
        return {"type": "string", **self._some(limits), **self._some(pattern)}

    def _listed(self, _depth: int) -> dict[str, Any]:
        return {"enum": self._random.choices(_VALUES, k=self._random.randint(1, 6))}

    def _number(self, _depth: int) -> dict[str, Any]:
        type_ = self._random.choice(("integer", "number"))
        return {"type": type_, "minimum": self._random.randint(-5, 3), "maximum": self._random.randint(4, 30)}

    def _mixed(self, _depth: int) -> dict[str, Any]:
        types = self._random.sample(_TYPES, self._random.randint(1, 4))
        return {"type": types, **self._some({"maxLength": 3, "minimum": 2, "maxItems": 1})}

    def _combined(self, depth: int) -> dict[str, Any]:
        schemas = [self.any(depth) for _ in range(self._random.randint(1, 3))]
        beside = {"type": self._random.choice(["string", "integer", ["string", "null"], "object"])}
        return {self._random.choice(("anyOf", "allOf")): schemas, **(beside if self._happens(0.2) else {})}

    def _reference(self, _depth: int) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self._random.choice(self._definitions)}"}

    def _array(self, depth: int) -> dict[str, Any]:
        first = [self.any(depth) for _ in range(self._random.randint(1, 2))]
        limits = {"minItems": self._random.randint(0, 2), "maxItems": self._random.randint(0, 3), "prefixItems": first}
        return {"type": "array", "items": self.any(depth), **self._some(limits)}

    def _some(self, keywords: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in keywords.items() if self._happens(0.4)}

    def _happens(self, share: float) -> bool:
        return self._random.random() < share
