"""Converts arguments that models write as bare text to JSON, by the types in the tool's schema."""

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import is_no_number, json_type, quoted, repaired_number
from onward_server.domain import FunctionTool
from onward_server.grammar.schema.reader import read
from onward_server.grammar.schema.value_types import SchemaTypes, property_names

_PYTHON_LITERALS = {"True": "true", "False": "false", "None": "null"}


class ArgumentTypes:
    """The types that one tool's JSON Schema allows for its arguments."""

    def __init__(self, tool: FunctionTool) -> None:
        document = read(tool.parsed_parameters if tool.parameters else True)
        self._schema = SchemaTypes(document)
        self.names = property_names(document)
        """The names that the schema lists."""

    def may_have(self, name: str) -> bool:
        """Whether an argument of this name is to be expected; any name if the schema lists none."""
        return name in self.names or not self.names

    def is_string(self, name: str) -> bool:
        """Whether the schema allows nothing but a string."""
        return self._schema.of_property(name) == frozenset({"string"})

    def allows_string(self, name: str) -> bool:
        """Whether the schema allows a string."""
        return "string" in self._schema.of_property(name)

    def may_be_nested(self, name: str) -> bool:
        """Whether the schema allows a list or an object."""
        return not self._schema.of_property(name).isdisjoint({"array", "object"})

    def to_json(self, name: str, text: str) -> str:
        """Returns the text itself if it is JSON of a type that the schema allows, else a JSON string of it.

        If the schema allows no string, JSON of any type is returned unchanged, and numbers that JSON writes otherwise,
        such as `1.` and `+1`, are corrected.

        Raises:
            MalformedToolCall: The schema demands a number, but the text is infinity or "not a number".
        """
        types = self._schema.of_property(name)
        candidate = python_literal(text) or text
        type_ = json_type(candidate)
        if type_ is None and "string" not in types and not types.isdisjoint({"number", "integer"}):
            return _number(candidate)
        if type_ is None or ("string" in types and type_ not in types):
            return quoted(text)
        return candidate


def python_literal(text: str) -> str | None:
    """Returns Python's `True`, `False` or `None` as JSON writes it; None for other text."""
    return _PYTHON_LITERALS.get(text)


def _number(text: str) -> str:
    if is_no_number(text.strip()):
        raise MalformedToolCall
    return repaired_number(text.strip()) or quoted(text)
