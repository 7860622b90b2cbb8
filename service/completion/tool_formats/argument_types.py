"""Makes JSON of arguments that a model writes as bare text, by the types in the tool's schema."""

import json
from typing import cast

from service.completion.tool_formats.json_text import json_type, quoted

_PYTHON_LITERALS = {"True": "true", "False": "false", "None": "null"}


class ArgumentTypes:
    """The types of one tool's arguments, as far as its JSON Schema says them plainly."""

    def __init__(self, parameters: str) -> None:
        schema = _object(json.loads(parameters)) if parameters else {}
        self._properties = _object(schema.get("properties"))

    def is_text(self, name: str) -> bool:
        """Whether the argument can only be a string."""
        return self._types(name) == {"string"}

    def to_json(self, name: str, text: str) -> str:
        """The text itself where it is JSON, unless it fits the schema only as a string; else a string of it."""
        types = self._types(name)
        candidate = _PYTHON_LITERALS.get(text, text)
        type_ = json_type(candidate)
        fits = type_ in types or (type_ == "integer" and "number" in types)
        if type_ is None or ("string" in types and not fits):
            return quoted(text)
        return candidate

    def _types(self, name: str) -> set[str]:
        """Empty where the schema does not say."""
        schema = _object(self._properties.get(name))
        declared = schema.get("type")
        if isinstance(declared, str):
            return {declared}
        if isinstance(declared, list):
            return set(map(str, cast("list[object]", declared)))
        choices = schema.get("enum")
        if isinstance(choices, list):
            return {json_type(json.dumps(choice)) or "" for choice in cast("list[object]", choices)}
        return set()


def _object(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
