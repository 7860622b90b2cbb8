"""Reads values of config.json, and checks the type and range of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from onward_server.errors import ExportError

_MAX_SIZE = 2**31 - 1
_MAX_SHOWN = 80
_SMALLEST, _LARGEST = 1e-30, 1e30
"""Outside this range, a number or a value computed from it could be 0 or infinite in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigValues:
    """A JSON object, with the values that transformers uses for the keys that it lacks."""

    values: Mapping[str, object]
    defaults: Mapping[str, object]
    place: str = "config.json"
    """For error texts."""

    def get(self, key: str) -> object:
        """The value as it is, or the default. A key whose value is null does not get its default."""
        return self.values[key] if key in self.values else self.defaults.get(key)

    def size(self, key: str, maximum: int = _MAX_SIZE) -> int:
        """An integer of 1 or more.

        Raises:
            ExportError: The value is missing, of another type or out of range.
        """
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
            raise self.invalid(key, f"an integer from 1 to {maximum}")
        return value

    def optional_size(self, key: str) -> int | None:
        """An integer of 1 or more, or None for null."""
        return None if self.get(key) is None else self.size(key)

    def number(self, key: str, *, above: float = 0.0) -> float:
        """A number that is larger than `above`.

        Raises:
            ExportError: The value is missing, of another type or out of range.
        """
        value = _as_number(self.get(key))
        if value is None or value <= above:
            raise self.invalid(key, f"a number larger than {above:g}, and at most {_LARGEST:g}")
        return value

    def optional_number(self, key: str) -> float | None:
        """A number above 0, or None for null."""
        return None if self.get(key) is None else self.number(key)

    def numbers(self, key: str, length: int) -> Sequence[float]:
        """A list of numbers above 0.

        Raises:
            ExportError: The value is missing, of another type, or has a number that is out of range.
        """
        value = self.get(key)
        items = cast(list[object], value) if isinstance(value, list) else []
        found = [number for item in items if (number := _as_number(item)) is not None]
        if not len(found) == len(items) == length:
            raise self.invalid(key, f"a list of {length} numbers larger than 0")
        return found

    def flag(self, key: str) -> bool:
        """True or false; false for null.

        Raises:
            ExportError: The value is of another type.
        """
        value = self.get(key)
        if not isinstance(value, bool | None):
            raise self.invalid(key, "true or false")
        return bool(value)

    def text(self, key: str) -> str:
        """A string.

        Raises:
            ExportError: The value is missing or of another type.
        """
        value = self.get(key)
        if not isinstance(value, str):
            raise self.invalid(key, "a string")
        return value

    def section(self, key: str) -> Mapping[str, object] | None:
        """An object, or None for null.

        Raises:
            ExportError: The value is of another type.
        """
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.invalid(key, "an object")
        return cast(dict[str, object], value)

    def items(self, key: str, length: int) -> Sequence[object]:
        """The first items of a list that has that many or more.

        Raises:
            ExportError: The value is missing, of another type or shorter.
        """
        value = self.get(key)
        items = cast(list[object], value) if isinstance(value, list) else None
        if items is None or len(items) < length:
            raise self.invalid(key, f"a list with an item for each of the {length} layers")
        return items[:length]

    def within(self, key: str, values: Mapping[str, object], defaults: Mapping[str, object]) -> "ConfigValues":
        """The values of a nested object."""
        return replace(self, values=values, defaults=defaults, place=f"{self.place}: {key}")

    def invalid(self, key: str, allowed: str) -> ExportError:
        """The error for a value that is not allowed."""
        value = repr(self.get(key))
        shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
        missing = key not in self.values and key not in self.defaults
        return ExportError(f"{self.place}: {key} {'is missing' if missing else f'is {shown}'}; it must be {allowed}")


def _as_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _SMALLEST <= value <= _LARGEST:
        return None
    return float(value)
