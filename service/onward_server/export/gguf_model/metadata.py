"""Typed access to the metadata of a GGUF file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onward_server.errors import ExportError
from onward_server.export.gguf_model.header_reader import Value

_MAX_SIZE = 2**31 - 1
_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a file by key. Each method raises `ExportError` if a value has another type or range."""

    values: Mapping[str, Value]

    def optional_size(self, key: str, *, maximum: int = _MAX_SIZE) -> int | None:
        """An integer of 1 or more; None if the file does not have it, or has 0."""
        value = self._scalar(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            raise self._invalid(key, f"an integer from 0 to {maximum}")
        return value or None

    def size(self, key: str, *, maximum: int = _MAX_SIZE) -> int:
        """An integer of 1 or more."""
        value = self.optional_size(key, maximum=maximum)
        if value is None:
            raise self._invalid(key, f"an integer from 1 to {maximum}")
        return value

    def optional_number(self, key: str) -> float | None:
        """A finite number; None if the file does not have it."""
        value = self._scalar(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._invalid(key, "a finite number")
        return float(value)

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.optional_number(key)
        if value is None:
            raise self._invalid(key, "a finite number")
        return value

    def optional_flag(self, key: str) -> bool | None:
        """A boolean; None if the file does not have it."""
        value = self._scalar(key)
        if isinstance(value, bool | None):
            return value
        raise self._invalid(key, "true or false")

    def optional_text(self, key: str) -> str | None:
        """A string; None if the file does not have it."""
        value = self._scalar(key)
        if isinstance(value, str | None):
            return value
        raise self._invalid(key, "a string")

    def text(self, key: str) -> str:
        """A string."""
        value = self.optional_text(key)
        if value is None:
            raise self._invalid(key, "a string")
        return value

    def flags(self, key: str, length: int) -> Sequence[bool] | None:
        """An array of booleans; None if the file does not have an array."""
        value = self.values.get(key)
        if not isinstance(value, np.ndarray):
            return None
        if value.dtype.kind not in "biu" or len(value) < length:
            raise self._invalid(key, f"an array of {length} booleans")
        return [bool(flag) for flag in value[:length].tolist()]

    def _scalar(self, key: str) -> bool | int | float | str | None:
        """A single value. An array whose values are all equal counts as one: it has a value for each layer."""
        value = self.values.get(key)
        if isinstance(value, np.ndarray) and len(value) and (value == value[0]).all():
            return value[0].item()
        if isinstance(value, bool | int | float | str | None):
            return value
        raise self._invalid(key, "a single value, or the same one for every layer")

    def _invalid(self, key: str, allowed: str) -> ExportError:
        if key not in self.values:
            return ExportError(f"{key} is missing; it must be {allowed}")
        shown = repr(self.values[key])
        shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
        return ExportError(f"{key}: {shown} is not {allowed}")
