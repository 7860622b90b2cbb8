"""JSON values as they come out of a parser, and what a grammar can say about them; it knows no schema keyword."""

import json
import math
from collections.abc import Iterator
from urllib.parse import unquote

from onward_server.json_value import Json, JsonObject, NotJson, parse

__all__ = ["MAX_EXACT", "Json", "JsonObject", "NotJson", "canonical", "lookup", "parse", "unspeakable"]

MAX_EXACT = 2**53
"""Up to here, every integer is a double, and grammars work in doubles."""


def lookup(root: Json, reference: str) -> Json:
    """What a reference such as `#/$defs/name` leads to.

    Raises:
        LookupError: Nothing of this document.
    """
    target = root
    for part in reference.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict) and key in target:
            target = target[key]
        elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
            target = target[int(key)]
        else:
            raise LookupError(reference)
    return target


def unspeakable(value: Json) -> Iterator[str]:
    """Why a grammar could not write exactly this value, if so."""
    match value:
        case bool() | None:
            return
        case int() if abs(value) > MAX_EXACT:
            yield f"the integer {value} is beyond 2^53 and cannot be written exactly"
        case float() if not math.isfinite(value):
            yield "a number is too large"
        case str():
            if any(_is_control(character) for character in value):
                yield f"the string {value[:40]!r} holds a control character that cannot be written"
        case list():
            for item in value:
                yield from unspeakable(item)
        case dict():
            for key, item in value.items():
                yield from unspeakable(key)
                yield from unspeakable(item)
        case _:
            return


def canonical(value: Json) -> str:
    """A text that is the same for equal values: 1 is 1.0, and true is neither."""
    match value:
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return f"[{','.join(map(canonical, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(key)}:{canonical(item)}' for key, item in sorted(value.items()))}}}"
        case _:
            return json.dumps(value)


def _is_control(character: str) -> bool:
    return (
        (character < " " and character not in "\b\f\n\r\t") or character == "\x7f" or "\ud800" <= character < "\ue000"
    )
