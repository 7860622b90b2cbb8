"""Parses JSON text strictly, as RFC 8259 defines it. Every number must be one that Python can write as JSON again."""

import json
import math
import re
from collections.abc import Iterable
from typing import NoReturn

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

JsonObject = dict[str, Json]

_MAX_DEPTH = 100
MAX_SCHEMA_DEPTH = 256
_MAX_SHOWN = 40
"""Characters of a bad number that an error shows."""
_STRING_OR_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.+-]+')
_MAY_OVERFLOW = re.compile(r"\d{200}|[eE]\+?0*[1-9]\d\d")
"""Finds every number that may be too large; the decoder that checks numbers takes several times as long."""
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotJson(Exception):
    """A text is not JSON; the message says where and why."""


class _BadNumber(ValueError):
    """A number that has no value; `args` are the number as written, and what is wrong with it."""


def parse(text: str, max_depth: int = _MAX_DEPTH) -> Json:
    """Returns the value of a JSON text. Takes up to 50 ms per megabyte, and holds the GIL for all of it.

    Raises:
        NotJson: The text is not JSON, is nested deeper than `max_depth`, or holds a number that Python cannot read.
    """
    try:
        value: Json = (_CHECKING_DECODER if _MAY_OVERFLOW.search(text) else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}") from error
    except _BadNumber as error:
        raise NotJson(f"{_place(text, error.args[0])}: {error.args[0][:_MAX_SHOWN]} {error.args[1]}") from error
    except RecursionError:
        raise NotJson(f"it is nested more than {max_depth} levels deep") from None
    if text.count("[") + text.count("{") > max_depth and _depth(value) > max_depth:
        raise NotJson(f"it is nested more than {max_depth} levels deep")
    return value


def has_lone_surrogates(text: str, value: Json) -> bool:
    """Whether a string or key of a value has half a surrogate pair, which is not valid Unicode; JSON can escape it."""
    # Serializing takes as long as parsing, so it is done only if there may be something to find.
    if _ESCAPED_SURROGATE.search(text) is None:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _place(text: str, number: str) -> str:
    """Line and column of the first number that is written like this."""
    start = next((m.start() for m in _STRING_OR_SCALAR.finditer(text) if m[0] == number), 0)
    return f"line {text.count(chr(10), 0, start) + 1}, column {start - text.rfind(chr(10), 0, start)}"


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
    raise _BadNumber(name, "is not JSON")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python reads integers of a few thousand digits only, because that takes quadratic time
        raise _BadNumber(digits, f"has {len(digits)} digits, which is too many for an integer") from None


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _BadNumber(number, "is too large; numbers are at most 1.7976931348623157e308")
    return value


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
_CHECKING_DECODER = json.JSONDecoder(parse_constant=_reject_constant, parse_int=_integer, parse_float=_finite)
