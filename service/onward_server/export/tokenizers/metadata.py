"""Reads typed values from the metadata of a GGUF file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from onward_server.errors import ExportError

MODEL = "tokenizer.ggml.model"
PRE_TOKENIZER = "tokenizer.ggml.pre"
TOKENS = "tokenizer.ggml.tokens"
SCORES = "tokenizer.ggml.scores"
TYPES = "tokenizer.ggml.token_type"
MERGES = "tokenizer.ggml.merges"
BOS_ID = "tokenizer.ggml.bos_token_id"
EOS_ID = "tokenizer.ggml.eos_token_id"
EOT_ID = "tokenizer.ggml.eot_token_id"
EOM_ID = "tokenizer.ggml.eom_token_id"
UNKNOWN_ID = "tokenizer.ggml.unknown_token_id"
PADDING_ID = "tokenizer.ggml.padding_token_id"
ADD_BOS = "tokenizer.ggml.add_bos_token"
ADD_EOS = "tokenizer.ggml.add_eos_token"
ADD_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"
CHAT_TEMPLATE = "tokenizer.chat_template"
MODEL_NAME = "general.name"
ARCHITECTURE = "general.architecture"

_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class TokenizerMetadata:
    """The metadata of a GGUF file. Each method raises `ExportError` if a value has the wrong type."""

    values: Mapping[str, object]

    def text(self, key: str) -> str | None:
        """A string; None if the file does not have it."""
        value = self._value(key)
        if value is not None and not isinstance(value, str):
            raise _wrong_type(key, value, "a string")
        if value is not None and not _is_unicode(value):
            raise _wrong_type(key, value, "valid Unicode")
        return value

    def flag(self, key: str) -> bool | None:
        """A boolean; None if the file does not have it."""
        value = self._value(key)
        if value is None or isinstance(value, bool):
            return value
        raise _wrong_type(key, value, "a boolean")

    def token_id(self, key: str, num_tokens: int) -> int | None:
        """The id of a token of the vocabulary; None if the file does not have it."""
        value = self._value(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(key, value, "a token id")
        if not 0 <= value < num_tokens:
            raise ExportError(f"{key}: {value} is not a token id; the vocabulary has {num_tokens:,} tokens")
        return value

    def texts(self, key: str) -> Sequence[str] | None:
        """An array of strings; None if the file does not have it."""
        if (value := self._array(key)) is None:
            return None
        for i, element in enumerate(value):
            if not isinstance(element, str):
                raise _wrong_type(f"{key}[{i}]", element, "a string")
        texts = cast(Sequence[str], value)
        if not _is_unicode("".join(texts)):
            i = next(i for i, text in enumerate(texts) if not _is_unicode(text))
            raise _wrong_type(f"{key}[{i}]", texts[i], "valid Unicode")
        return texts

    def integers(self, key: str) -> Sequence[int] | None:
        """An array of integers; None if the file does not have it."""
        if (value := self._array(key)) is None:
            return None
        for i, element in enumerate(value):
            if isinstance(element, bool) or not isinstance(element, int):
                raise _wrong_type(f"{key}[{i}]", element, "an integer")
        return cast(Sequence[int], value)

    def numbers(self, key: str) -> Sequence[float] | None:
        """An array of numbers that are not NaN; None if the file does not have it."""
        if (value := self._array(key)) is None:
            return None
        for i, element in enumerate(value):
            if isinstance(element, bool) or not isinstance(element, int | float) or math.isnan(element):
                raise _wrong_type(f"{key}[{i}]", element, "a number")
        return cast(Sequence[float], value)

    def _array(self, key: str) -> Sequence[object] | None:
        value = self._value(key)
        if value is None or isinstance(value, list | tuple):
            return cast(Sequence[object] | None, value)
        raise _wrong_type(key, value, "an array")

    def _value(self, key: str) -> object:
        """The value; numbers and arrays of numpy become those of Python."""
        value = self.values.get(key)
        return cast(object, value.tolist()) if isinstance(value, np.generic | np.ndarray) else value


def _wrong_type(key: str, value: object, expected: str) -> ExportError:
    shown = repr(value)
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
    return ExportError(f"{key}: {shown} is not {expected}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
