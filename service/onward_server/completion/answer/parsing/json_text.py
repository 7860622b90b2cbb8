"""JSON as text: the type of a value, and the escaping of strings."""

import json
import re

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall

_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<integer>0|[1-9][0-9]*|)(?:\.(?P<fraction>[0-9]*))?(?P<exponent>(?:[eE][+-]?[0-9]+)?)"
)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class NestedTooDeeply(MalformedToolCall):
    """The JSON has more levels of nesting than Python's decoder reads."""


def json_type(text: str) -> str | None:
    """Returns the JSON Schema type of the value in a JSON text; None if the text is not JSON.

    Raises:
        NestedTooDeeply: The text may be JSON, but is nested too deeply to find out.
    """
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise NestedTooDeeply from None
    except ValueError:
        return None
    return _TYPE_NAMES[type(value)]


def repaired_number(text: str) -> str | None:
    """Returns a number as JSON writes it, such as 108.0 for `108.` and 1 for `+1`; None if the text is not a number."""
    match = _NUMBER.fullmatch(text)
    if match is None or not (match["integer"] or match["fraction"]):
        return None
    fraction = "" if match["fraction"] is None else f".{match['fraction'] or '0'}"
    return f"{match['sign'].strip('+')}{match['integer'] or '0'}{fraction}{match['exponent']}"


def is_infinity_or_nan(text: str) -> bool:
    """Whether a text is infinity or "not a number", which JSON has no value for."""
    return _NO_NUMBER.fullmatch(text) is not None


def quoted(text: str) -> str:
    """Returns the text as a JSON string, with its quotes."""
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """Returns the text as it appears inside a JSON string, without quotes."""
    return quoted(text)[1:-1]


def _integer(_digits: str) -> int:
    return 0


def _float(_digits: str) -> float:
    return 0.0


def _reject(constant: str) -> None:
    raise ValueError(constant)


# Only types are asked for: numbers are not converted, so that long ones cost nothing. NaN and Infinity are not JSON.
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_reject)
