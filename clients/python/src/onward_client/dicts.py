"""Plain dicts and JSON values on their way into protobuf; it does not know which messages there are.

A dict has the field names of its protobuf message. The `type` key that other chat APIs put beside them is
understood where it says the same, and refused where it does not.
"""

import json
from collections.abc import Mapping
from typing import TypeGuard, TypeVar

from google.protobuf.message import Message

from onward_client.errors import RequestError

MessageT = TypeVar("MessageT", bound=Message)


def build(kind: type[MessageT], path: str, fields: Mapping[str, object]) -> MessageT:
    """The message with these fields; `path` is what an error calls it.

    Raises:
        RequestError: a field is unknown or has the wrong type.
    """
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error


def is_dict(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value is a dict, which is then taken to have strings for keys."""
    return isinstance(value, Mapping)


def set_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def without_type(fields: Mapping[str, object], kind: str, path: str) -> dict[str, object]:
    """The fields less their `type`, which must be `kind` if it is there."""
    if fields.get("type", kind) != kind:
        raise RequestError(f"{path}.type: must be {kind!r}, not {fields['type']!r}")
    return {name: value for name, value in fields.items() if name != "type"}


def json_text(value: object, path: str) -> str:
    """The value as JSON; text is taken to be JSON already."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{path}: {error}") from error
