"""Fills protobuf messages with plain Python values, and names the field of a value that does not fit."""

import operator
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from onward_client.errors import RequestError, shown

MessageT = TypeVar("MessageT", bound=Message)

_INTEGERS: Mapping[int, range] = {
    FieldDescriptor.CPPTYPE_INT32: range(-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_INT64: range(-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT32: range(2**32),
    FieldDescriptor.CPPTYPE_UINT64: range(2**64),
}


def build(kind: type[MessageT], path: str, values: Mapping[str, object]) -> MessageT:
    """Returns a message with these fields.

    Args:
        kind: The generated class.
        path: Where the message is in the request, for error messages; empty for the request itself.
        values: Values by field: scalars, lists, dicts and generated messages, as in JSON.

    Raises:
        RequestError: A field is unknown, or its value does not fit. The message starts with the path of the field.
    """
    message = kind()
    known: dict[str, FieldDescriptor] = {field.name: cast("Any", field) for field in kind.DESCRIPTOR.fields}
    for name, value in values.items():
        if name not in known:
            raise RequestError(f"{path or 'request'}: {shown(name)} is not a field{_suggestion(name, known)}")
        _set(message, known[name], f"{path}.{name}" if path else name, value)
    return message


def text(path: str, value: object) -> str:
    """Returns a value that must be a string which protobuf can send.

    Raises:
        RequestError: The value is not a string, or has a lone surrogate.
    """
    if not isinstance(value, str):
        hint = "; decode bytes first" if isinstance(value, bytes | bytearray) else ""
        raise RequestError(f"{path}: must be a string, not {shown(value)}{hint}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        found = value[error.start]
        raise RequestError(
            f"{path}: has the lone surrogate {found!a} at character {error.start}, which is not valid Unicode; replace"
            ' it, for example with text.encode("utf-8", "replace").decode()'
        ) from error
    return value


def integer(path: str, value: object, allowed: range | None = None) -> int:
    """Returns a value that must be an integer, of Python or of a library such as numpy.

    Raises:
        RequestError: The value is not an integer, or outside the range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(cast("Any", value))
    except TypeError:
        number = None
    if number is None:
        raise RequestError(f"{path}: must be an integer, not {shown(value)}")
    if allowed is not None and number not in allowed:
        raise RequestError(f"{path}: {shown(number)} is outside [{allowed.start}, {allowed.stop - 1}]")
    return number


def number(path: str, value: object) -> float:
    """Returns a value that must be a number, of Python or of a library such as numpy.

    Raises:
        RequestError: The value is not a number, or too large for a float.
    """
    if isinstance(value, bool | str | bytes | bytearray):
        raise RequestError(f"{path}: must be a number, not {shown(value)}")
    try:
        return float(cast("Any", value))
    except (TypeError, ValueError) as error:
        raise RequestError(f"{path}: must be a number, not {shown(value)}") from error
    except OverflowError as error:
        raise RequestError(f"{path}: {shown(value)} is too large for a float") from error


def items(path: str, value: object, expected: str = "a list") -> list[object]:
    """Returns the items of a value that must be a list or another iterable, but not text or a dict.

    Args:
        path: Where the value is in the request, for error messages.
        value: The value.
        expected: What the error message says that the value must be.

    Raises:
        RequestError: The value is not such an iterable.
    """
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping | type):
        return list(cast("Iterable[object]", value))
    raise RequestError(f"{path}: must be {expected}, not {shown(cast('object', value))}")


def _set(message: Message, field: FieldDescriptor, path: str, value: object) -> None:
    if not _is_repeated(field):
        _set_one(message, field, path, value)
    elif field.message_type and field.message_type.GetOptions().map_entry:
        getattr(message, field.name).update(_entries(field, path, value))
    else:
        read = _reader(field)
        getattr(message, field.name).extend(read(f"{path}[{at}]", item) for at, item in enumerate(items(path, value)))


def _set_one(message: Message, field: FieldDescriptor, path: str, value: object) -> None:
    read = _reader(field)(path, value)
    if isinstance(read, Message):
        target = getattr(message, field.name)
        target.SetInParent()
        target.CopyFrom(read)
    else:
        setattr(message, field.name, read)


def _entries(field: FieldDescriptor, path: str, value: object) -> dict[object, object]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{path}: must be a dict, not {shown(value)}")
    entry = cast("Any", field.message_type).fields_by_name
    read_key, read_value = _reader(entry["key"]), _reader(entry["value"])
    has_numbers = entry["key"].cpp_type in _INTEGERS
    entries: dict[object, object] = {}
    for key, item in cast("Mapping[object, object]", value).items():
        # JSON has only strings as keys.
        number_key = int(key) if has_numbers and isinstance(key, str) and _is_digits(key) else key
        entries[read_key(f"{path} key", number_key)] = read_value(f"{path}[{shown(key)}]", item)
    return entries


def _reader(field: FieldDescriptor) -> Callable[[str, object], Any]:
    """Returns the function that reads one value of a field."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _bytes if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return _boolean
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return number
        case FieldDescriptor.CPPTYPE_ENUM:
            enum = cast("EnumDescriptor", field.enum_type)
            return lambda path, value: _enum(enum, path, value)
        case FieldDescriptor.CPPTYPE_MESSAGE:
            kind = GetMessageClass(cast("Any", field.message_type))
            return lambda path, value: _message(kind, path, value)
        case _:
            allowed = _INTEGERS[field.cpp_type]
            return lambda path, value: integer(path, value, allowed)


def _message(kind: type[Message], path: str, value: object) -> Message:
    if isinstance(value, Message) and value.DESCRIPTOR.full_name == kind.DESCRIPTOR.full_name:
        return value
    if isinstance(value, Mapping):
        return build(kind, path, cast("Mapping[str, object]", value))
    raise RequestError(f"{path}: must be a dict or a {kind.DESCRIPTOR.name}, not {shown(value)}")


def _boolean(path: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise RequestError(f"{path}: must be True or False, not {shown(value)}")
    return value


def _bytes(path: str, value: object) -> bytes:
    if not isinstance(value, bytes):
        raise RequestError(f"{path}: must be bytes, not {shown(value)}")
    return value


def _enum(enum: EnumDescriptor, path: str, value: object) -> int:
    """Reads a value of an enum by number, full name, or name without its prefix, such as `low`."""
    if not isinstance(value, str):
        return integer(path, value, _INTEGERS[FieldDescriptor.CPPTYPE_INT32])
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    numbers = {each.name: each.number for each in enum.values}
    for name in (value, f"{prefix}{value}".upper()):
        if name in numbers:
            return numbers[name]
    names = ", ".join(each.name.removeprefix(prefix).lower() for each in enum.values[1:])
    raise RequestError(f"{path}: must be one of {names}, not {shown(value)}")


def _is_repeated(field: FieldDescriptor) -> bool:
    # protobuf 6 added `is_repeated`, and 7 removed `label`.
    described = cast("Any", field)
    return described.is_repeated if hasattr(field, "is_repeated") else described.label == described.LABEL_REPEATED


def _is_digits(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 20


def _suggestion(name: object, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1) if isinstance(name, str) else []
    return f"; did you mean {close[0]!r}?" if close else f"; the fields are {', '.join(names)}"
