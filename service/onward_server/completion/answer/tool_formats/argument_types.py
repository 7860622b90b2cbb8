"""Converts arguments that models write as bare text to JSON, by the types in the tool's schema."""

import json

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall
from onward_server.completion.answer.parsing.json_text import is_infinity_or_nan, json_type, quoted, repaired_number
from onward_server.completion.answer.parsing.python_literals import parse_literal
from onward_server.completion.answer.parsing.text_stream import TextStream
from onward_server.domain import FunctionTool
from onward_server.grammar.schema.reader import read
from onward_server.grammar.schema.value_types import SchemaTypes, property_names
from onward_server.json_value import NotJson, parse

_PYTHON_LITERALS = {"True": "true", "False": "false", "None": "null"}


class ArgumentTypes:
    """The types that one tool's JSON Schema allows for its arguments."""

    def __init__(self, tool: FunctionTool) -> None:
        document = read(tool.parsed_parameters if tool.parameters else True)
        self._schema = SchemaTypes(document)
        self.names = property_names(document)
        """The names that the schema lists."""

    def may_have(self, name: str) -> bool:
        """Whether the schema lists this name. If it lists no names, every name counts as listed."""
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

        A number that is too large for a message is a string if the schema allows one.
        If the schema allows no string, a text that is almost JSON is corrected: a number such as `1.` or `+1`, a
        literal of Python, and JSON with escaped quotes or within quotes. Other JSON of any type is returned unchanged.

        Raises:
            MalformedToolCall: The schema demands a number, but the text is infinity or "not a number".
        """
        types = self._schema.of_property(name)
        candidate = python_literal(text) or text
        type_ = json_type(candidate)
        if "string" not in types and type_ in (None, "string"):
            return _corrected(text.strip(), types) or (quoted(text) if type_ is None else text)
        is_string = "string" in types and (type_ not in types or _is_too_large(candidate, type_))
        return quoted(text) if type_ is None or is_string else candidate


def _is_too_large(text: str, type_: str | None) -> bool:
    """Whether a JSON text is a number that the arguments of a message may not contain."""
    if type_ not in {"number", "integer"}:
        return False
    try:
        parse(text)
    except NotJson:
        return True
    return False


def python_literal(text: str) -> str | None:
    """Returns Python's `True`, `False` or `None` as JSON writes it; None for other text."""
    return _PYTHON_LITERALS.get(text)


def _corrected(text: str, types: frozenset[str]) -> str | None:
    """Returns the value, of one of these types other than string, that the text probably means; None if unclear."""
    if not types.isdisjoint({"number", "integer"}):
        if is_infinity_or_nan(text):
            raise MalformedToolCall
        if number := repaired_number(text):
            return number
    candidates = (_PYTHON_LITERALS.get(text.capitalize()), _unquoted(text), _unquoted(f'"{text}"'), _python_json(text))
    return next((one for one in candidates if one is not None and json_type(one) in types), None)


def _unquoted(text: str) -> str | None:
    """Returns the value of a JSON string; None if the text is not a JSON string."""
    return json.loads(text) if json_type(text) == "string" else None


def _python_json(text: str) -> str | None:
    """Returns a list or a dict of Python as JSON; None for other text."""
    if not text.startswith(("[", "{", "(")):
        return None
    stream, parts = TextStream(), list[str]()
    stream.feed(text)
    stream.end()
    try:
        for _ in parse_literal(stream, parts.append):
            pass
    except MalformedToolCall:
        return None
    return "".join(parts) if stream.is_at_end else None
