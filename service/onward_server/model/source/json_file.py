"""Reads the JSON files of a model folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from onward_server.errors import ModelFolderError
from onward_server.model.source.access import is_present, read_text

JsonObject = Mapping[str, object]

_MAX_BYTES = 16 << 20
"""Maximum size of a file. The largest public ones, configurations of tokenizers, have a tenth of it."""


def read_json_object(path: Path) -> JsonObject:
    """The JSON object in a file; empty if there is no such file.

    Raises:
        ModelFolderError: The file cannot be read, is too large, is not valid JSON, or holds another value.
    """
    return parse_json_object(path, read_text(path, _MAX_BYTES)) if is_present(path) else {}


def parse_json_object(path: Path, text: str) -> JsonObject:
    """The JSON object in the text of a file.

    Raises:
        ModelFolderError: The text is not valid JSON, or holds another value.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFolderError(f"{path} must hold a JSON object")
    return cast(JsonObject, value)
