"""Parses JSON text strictly, as RFC 8259 defines it."""

import json
import re
from collections.abc import Iterable
from typing import NoReturn

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

JsonObject = dict[str, Json]

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_DEPTH = 100
MAX_SCHEMA_DEPTH = 256


class NotJson(Exception):
    """A text is not JSON; the message says where and why."""


def parse(text: str, max_depth: int = _MAX_DEPTH) -> Json:
    """Returns the value of a JSON text. Takes up to 50 ms per megabyte, and holds the GIL for all of it.

    Raises:
        NotJson: The text is not JSON, is nested deeper than `max_depth`, or holds a number that Python cannot read.
    """
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}") from error
    except ValueError as error:
        raise NotJson(f"a number in it cannot be read: {error}") from error
    except RecursionError:
        raise NotJson(f"it is nested more than {max_depth} levels deep") from None
    if text.count("[") + text.count("{") > max_depth and _depth(value) > max_depth:
        raise NotJson(f"it is nested more than {max_depth} levels deep")
    return value


def has_lone_surrogates(text: str, value: Json) -> bool:
    """Whether a string or a key of a value is no Unicode text, as its JSON text escapes half a surrogate pair only."""
    # Serializing takes as long as parsing, so it is done only if there may be something to find.
    if _ESCAPED_SURROGATE.search(text) is None:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _depth(value: Json) -> int:
    """How deep lists and objects are nested."""
    depth = 0
    level = _containers([value])
    while level:
        depth += 1
        level = _containers(child for item in level for child in (item.values() if isinstance(item, dict) else item))
    return depth


def _containers(values: Iterable[Json]) -> list[list[Json] | dict[str, Json]]:
    return [value for value in values if isinstance(value, list | dict)]


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
