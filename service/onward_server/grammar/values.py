"""Which JSON values a grammar can express, and when two values are equal."""

import json
import math
import re

from onward_server.json_value import Json

MAX_EXACT = 2**53
"""The largest integer up to which a double represents every integer; llguidance computes with doubles."""

_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f\ud800-\udfff]")


def unwritable(value: Json) -> str | None:
    """Why a grammar cannot express exactly this value; None if it can."""
    reason = None
    match value:
        case str():
            if _CONTROL.search(value):
                reason = f"the string {value[:40]!r} contains a control character that cannot be written"
        case bool() | None:
            pass
        case int() if abs(value) > MAX_EXACT:
            reason = f"the integer {value} is beyond 2^53 and cannot be written exactly"
        case float() if not math.isfinite(value):
            reason = "a number is too large for a double"
        case list():
            reason = next(filter(None, map(unwritable, value)), None)
        case dict():
            reason = next(filter(None, map(unwritable, (*value, *value.values()))), None)
        case _:
            pass
    return reason


def canonical(value: Json) -> str:
    """A text that is the same for equal values: 1 equals 1.0, and true equals neither."""
    match value:
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return f"[{','.join(map(canonical, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(key)}:{canonical(item)}' for key, item in sorted(value.items()))}}}"
        case _:
            return json.dumps(value)
