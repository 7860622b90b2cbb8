"""Makes JSON of arguments that a model writes as bare text, by the types in the tool's schema."""

import json

from onward_server.completion.answer.tool_formats.json_text import json_type, quoted
from onward_server.grammar.schema_types import SchemaTypes

_PYTHON_LITERALS = {"True": "true", "False": "false", "None": "null"}


class ArgumentTypes:
    """The types of one tool's arguments, as far as its JSON Schema says them."""

    def __init__(self, parameters: str) -> None:
        self._schema = SchemaTypes(json.loads(parameters) if parameters else True)

    def is_text(self, name: str) -> bool:
        """Whether the argument can only be a string."""
        return self._schema.of_property(name) == frozenset({"string"})

    def may_be_nested(self, name: str) -> bool:
        """Whether the argument can be a list or an object."""
        return not self._schema.of_property(name).isdisjoint({"array", "object"})

    def to_json(self, name: str, text: str) -> str:
        """The text itself where it is JSON, unless it fits the schema only as a string; else a string of it."""
        types = self._schema.of_property(name)
        candidate = _PYTHON_LITERALS.get(text, text)
        type_ = json_type(candidate)
        if type_ is None or ("string" in types and type_ not in types):
            return quoted(text)
        return candidate
