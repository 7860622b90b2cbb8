"""JSON schemas of Python types, and values of them read from JSON; the one importer of pydantic, which is optional.

A schema is made strict: an object has the properties that its type names, no others, and all of them, since a model
that may leave a property out often does. What the schema cannot say is checked when the answer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from onward_client.errors import OutputValidationError, RequestError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from onward_client.results import Completion

T = TypeVar("T")
JsonSchema: TypeAlias = Mapping[str, object]

_SCHEMAS_BY_NAME = ("properties", "$defs")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties")


def json_schema(kind: type | Callable[..., object]) -> JsonSchema:
    """The strict JSON schema of a type, or of a function's arguments.

    Raises:
        RequestError: it has none, or pydantic is not installed.
    """
    try:
        return strict(_adapter(kind).json_schema())
    except RuntimeError as error:  # pydantic's PydanticUserError is one
        raise RequestError(f"{name_of(kind)} has no JSON schema: {str(error).partition(chr(10))[0]}") from error


def strict(schema: JsonSchema) -> JsonSchema:
    """The schema with every property required, none beside them, and without what only a validator reads."""
    result = {key: value for key, value in schema.items() if key not in {"default", "discriminator", "title"}}
    # Pydantic tells the arms of a oneOf apart itself; for writing one of them anyOf says the same, and always compiles.
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


def validate(kind: type[T], text: str, response: Completion) -> T:
    """The value of type `kind` that `text` writes in JSON.

    Raises:
        OutputValidationError: it writes none; carries `response`.
    """
    adapter = _adapter(kind)
    try:
        return adapter.validate_json(text)
    except ValueError as error:  # pydantic's ValidationError is one
        raise OutputValidationError(
            f"the answer does not match {name_of(kind)}: {error}", response, text, error
        ) from error


def name_of(kind: type | Callable[..., object]) -> str:
    """What the type or function is called."""
    return getattr(kind, "__name__", str(kind))


def _adapter(kind: type[T] | Callable[..., T]) -> TypeAdapter[T]:
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise RequestError(f"{name_of(kind)}: types and functions need pydantic, which is not installed") from error
    return TypeAdapter(cast("type[T]", kind))
