"""Reads plain dicts and JSON values as other chat APIs spell them.

A dict has the field names of its protobuf message. A `type` key, as other chat APIs use it, is accepted if it names the
kind of the dict, and rejected otherwise.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from onward_client.errors import RequestError, shown


def is_dict(value: object) -> TypeGuard[Mapping[str, object]]:
    """Returns whether a value is a mapping, whose keys are then assumed to be strings."""
    return isinstance(value, Mapping)


def set_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Returns the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def without_type(fields: Mapping[str, object], kind: str, path: str) -> dict[str, object]:
    """Returns the set fields without `type`.

    Raises:
        RequestError: `type` is set, and not to `kind`.
    """
    given = set_fields(fields)
    if given.pop("type", kind) != kind:
        raise RequestError(f"{path}.type: must be {kind!r}, not {shown(fields['type'])}")
    return given


def json_text(value: object, path: str, default: Callable[[Any], object] | None = None) -> str:
    """Returns a value as JSON; a string is returned as it is, because it is JSON already.

    Args:
        value: The value.
        path: Where the value is in the request, for error messages.
        default: Converts values that JSON does not have; see `json.dumps`.

    Raises:
        RequestError: The value has no JSON form.
    """
    if isinstance(value, str):
        return value
    try:
        return _dumped(value, default)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: has no JSON form: {error}") from error


def _dumped(value: object, default: Callable[[Any], object] | None) -> str:
    if default is None:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return json.dumps(value, ensure_ascii=False, default=default)
    except TypeError:  # `json` does not convert keys
        return json.dumps(default(value), ensure_ascii=False)
