"""Converts plain dicts and JSON values to protobuf messages.

A dict has the field names of its protobuf message. A `type` key, as other chat APIs use it, is accepted if it names the
kind of the dict, and rejected otherwise.
"""

import json
from collections.abc import Mapping
from typing import TypeGuard, TypeVar

from google.protobuf.message import Message

from onward_client.errors import RequestError

MessageT = TypeVar("MessageT", bound=Message)


def build(kind: type[MessageT], path: str, fields: Mapping[str, object]) -> MessageT:
    """Returns a message with these fields; error messages name it by `path`.

    Raises:
        RequestError: A field is unknown or has the wrong type.
    """
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error


def is_dict(value: object) -> TypeGuard[Mapping[str, object]]:
    """Returns whether a value is a mapping, whose keys are then assumed to be strings."""
    return isinstance(value, Mapping)


def set_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Returns the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def without_type(fields: Mapping[str, object], kind: str, path: str) -> dict[str, object]:
    """Returns the fields without `type`.

    Raises:
        RequestError: `type` is set, and not to `kind`.
    """
    if fields.get("type", kind) != kind:
        raise RequestError(f"{path}.type: must be {kind!r}, not {fields['type']!r}")
    return {name: value for name, value in fields.items() if name != "type"}


def json_text(value: object, path: str) -> str:
    """Returns a value as JSON; a string is returned as it is, because it is JSON already.

    Raises:
        RequestError: The value has no JSON form.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error
