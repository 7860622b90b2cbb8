"""JSON schemas of Python types, and values of those types read from JSON text. Pydantic is imported on first use."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_origin

from onward_client.enforceable import enforceable
from onward_client.errors import RequestError, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from typing_extensions import TypeForm

T = TypeVar("T")
JsonSchema: TypeAlias = Mapping[str, object]
TypeLike: TypeAlias = "TypeForm[Any]"
"""A type that pydantic knows, such as a model, `list[int]` or `int | str`."""


def json_schema(kind: object) -> JsonSchema:
    """Returns the JSON schema of a type, or of a function's arguments, as far as a server can enforce it.

    What it leaves out is checked when the output is parsed.

    Raises:
        RequestError: The type has no JSON schema, or pydantic is not installed.
    """
    adapter = _adapter(kind)
    try:
        from onward_client.pydantic_types import EnforceableJsonSchema  # noqa: PLC0415 - see `_adapter`

        return enforceable(adapter.json_schema(schema_generator=EnforceableJsonSchema))
    except Exception as error:  # it runs the code of any type
        raise _no_schema(kind, error) from error


def json_reader(kind: object) -> Callable[[str], Any]:
    """Returns a function that reads a value of a type from JSON text, and raises a ValueError if it cannot.

    For a function, the value is a dict of its arguments. The function is not called.

    Raises:
        RequestError: The type cannot be read from JSON, or pydantic is not installed.
    """
    return _adapter(kind).validate_json


def is_type(value: object) -> bool:
    """Returns whether a value is a type: a class, a generic type, a union or another form of `typing`."""
    is_special = type(value).__module__ in {"typing", "typing_extensions"}
    return isinstance(value, type | types.UnionType) or get_origin(value) is not None or is_special


def check_type(kind: object) -> None:
    """Rejects a value that is not a type.

    Raises:
        RequestError: The value is not a type.
    """
    if not is_type(kind):
        raise RequestError(f"kind: must be a type, such as a pydantic model or list[int], not {shown(kind)}")


def name_of(kind: object) -> str:
    """Returns the name of a type or function."""
    if isinstance(kind, partial):
        return name_of(kind.func)
    name = getattr(kind, "__name__", None)
    return name if isinstance(name, str) else str(kind) if is_type(kind) else type(kind).__name__


def tool_name_of(kind: object) -> str:
    """Returns the name of a type or function as a tool; characters that the protocol does not allow become `_`."""
    return re.sub("[^a-zA-Z0-9_-]", "_", name_of(kind))[:64]


def to_plain(value: object) -> object:
    """Converts a value that JSON lacks, such as a pydantic model or a date, to one that it has.

    Raises:
        TypeError: The value has no JSON form.
    """
    if hasattr(value, "isoformat"):
        return str(value.isoformat())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]
    try:
        from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415 - see `_adapter`
    except ImportError:
        raise TypeError(f"{shown(value)} needs pydantic, which is not installed") from None
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise TypeError(str(error)) from error


def _adapter(kind: object) -> TypeAdapter[Any]:
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise RequestError(
            f"{name_of(kind)}: types and functions need pydantic, which is not installed; run `pip install pydantic`"
        ) from error
    from onward_client.pydantic_types import arguments_type  # noqa: PLC0415 - it imports pydantic

    wanted: Any = kind
    try:
        if not is_type(kind):
            wanted = arguments_type(name_of(kind), inspect.signature(wanted, eval_str=True))
        return TypeAdapter(wanted)
    except Exception as error:  # it runs the code of any type
        raise _no_schema(kind, error) from error


def _no_schema(kind: object, error: Exception) -> RequestError:
    return RequestError(f"{name_of(kind)} has no JSON schema: {str(error).partition(chr(10))[0]}")
