"""Reads the JSON files of a model folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from onward_server.errors import ModelFolderError

JsonObject = Mapping[str, object]


def read_json_object(path: Path) -> JsonObject:
    """The JSON object in a file; empty if there is no such file.

    Raises:
        ModelFolderError: The file is not valid JSON or holds another value.
    """
    if not path.is_file():
        return {}
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFolderError(f"{path} must hold a JSON object")
    return cast(JsonObject, value)
