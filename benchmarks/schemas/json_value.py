"""The type of parsed JSON."""

from typing import Any, TypeAlias, TypeGuard

Json: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]


def is_object(value: Json) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)
