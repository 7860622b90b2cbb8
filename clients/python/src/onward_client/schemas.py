"""JSON schemas of Python types, and values of those types read from JSON. The only module that imports pydantic.

Schemas are strict: objects have exactly the properties that their type names, all required, because models often leave
out optional ones. Rules that a schema cannot express are checked when the output is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from onward_client.errors import RequestError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
JsonSchema: TypeAlias = Mapping[str, object]

_SCHEMAS_BY_NAME = ("properties", "$defs")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")


def json_schema(kind: type | Callable[..., object]) -> JsonSchema:
    """Returns the strict JSON schema of a type, or of a function's arguments.

    Raises:
        RequestError: The type has no JSON schema, or pydantic is not installed.
    """
    try:
        return strict(_adapter(kind).json_schema())
    except RuntimeError as error:  # includes pydantic's PydanticUserError
        raise RequestError(f"{name_of(kind)} has no JSON schema: {str(error).partition(chr(10))[0]}") from error


def strict(schema: JsonSchema) -> JsonSchema:
    """Returns a schema that requires every property and allows no others.

    It omits keywords that do not constrain the output, such as `title`.
    """
    result = {key: value for key, value in schema.items() if key not in {"default", "discriminator", "title"}}
    # The alternatives of pydantic's oneOf exclude each other, so anyOf means the same, and every server can compile it.
    if "oneOf" in result:
        result["anyOf"] = result.pop("oneOf")
    for key in _SCHEMAS_BY_NAME:
        if key in result:
            by_name = cast("Mapping[str, JsonSchema]", result[key])
            result[key] = {name: strict(value) for name, value in by_name.items()}
    for key in _LISTS_OF_SCHEMAS:
        if key in result:
            result[key] = [strict(value) for value in cast("list[JsonSchema]", result[key])]
    for key in _SCHEMAS:
        if isinstance(result.get(key), dict):
            result[key] = strict(cast("JsonSchema", result[key]))
    if "properties" in result:
        result |= {"required": list(cast("JsonSchema", result["properties"])), "additionalProperties": False}
    return result


def json_reader(kind: type[T]) -> Callable[[str], T]:
    """Returns a function that reads a value of a type from JSON text, and raises a ValueError if it cannot.

    Raises:
        RequestError: Pydantic is not installed.
    """
    return _adapter(kind).validate_json


def name_of(kind: type | Callable[..., object]) -> str:
    """Returns the name of a type or function."""
    return getattr(kind, "__name__", str(kind))


def _adapter(kind: type[T] | Callable[..., T]) -> TypeAdapter[T]:
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise RequestError(
            f"{name_of(kind)}: types and functions need pydantic, which is not installed; run `pip install pydantic`"
        ) from error
    return TypeAdapter(cast("type[T]", kind))
