"""What can be asked of a piece of JSON text; it knows no calls."""

import json

from onward_server.completion.answer.tool_formats.reader import CallUnparseable

_TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class NestedTooDeeply(CallUnparseable):
    """JSON of more levels than anyone reads."""


def json_type(text: str) -> str | None:
    """The type of the value, in JSON Schema's words; None where this is not JSON.

    Raises:
        NestedTooDeeply: It may be JSON.
    """
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise NestedTooDeeply from None
    except ValueError:
        return None
    return _TYPE_NAMES[type(value)]


def quoted(text: str) -> str:
    """Text as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """Text as it stands inside a JSON string."""
    return quoted(text)[1:-1]


def _integer(_digits: str) -> int:
    return 0


def _float(_digits: str) -> float:
    return 0.0


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# Numbers are not converted, so that long ones cost nothing; NaN and Infinity are not JSON.
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_refuse)
