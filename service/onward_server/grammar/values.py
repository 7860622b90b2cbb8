"""Which JSON values a grammar can write, and when two are equal."""

import json
import math
import re

from onward_server.json_value import Json

MAX_EXACT = 2**53
"""Up to here, every integer is a double, and grammars work in doubles."""

_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f\ud800-\udfff]")


def unwritable(value: Json) -> str | None:
    """Why a grammar could not write exactly this value; None: it could."""
    reason = None
    match value:
        case str():
            if _CONTROL.search(value):
                reason = f"the string {value[:40]!r} holds a control character that cannot be written"
        case bool() | None:
            pass
        case int() if abs(value) > MAX_EXACT:
            reason = f"the integer {value} is beyond 2^53 and cannot be written exactly"
        case float() if not math.isfinite(value):
            reason = "a number is too large"
        case list():
            reason = next(filter(None, map(unwritable, value)), None)
        case dict():
            reason = next(filter(None, map(unwritable, (*value, *value.values()))), None)
        case _:
            pass
    return reason


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
