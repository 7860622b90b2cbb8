"""Writes the grammar of arguments in element notation.

The parser reads a text as a value of another type than string if it is valid JSON of that type. So if an argument may
be a string or another type, strings that the parser would read as that type are excluded.
"""

from collections.abc import Collection

from onward_server.grammar import lark
from onward_server.grammar.notation.rules import SMALL_NUMBERS, ArgumentRules, ArgumentsRejected
from onward_server.grammar.notation.shapes import Shape, TextShape
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.value_types import SchemaTypes
from onward_server.grammar.tool_calls import ElementNotation

_WORD = "[^<>\\s\"']+"
_NAME = f"{_WORD}(?: {_WORD})*"
"""A name that the schema does not list: the parser ignores quotes and white space around it."""
_SPACE = "[ \\t\\n\\r]*"
_BRACKETS = {"array": "[", "object": "{"}
_WORDS = {"null": ("null", "None"), "boolean": ("true", "True", "false", "False")}


class ElementArguments:
    """Writes the arguments of one tool."""

    def __init__(self, notation: ElementNotation, control: lark.ControlTokens, document: tree.Document) -> None:
        self.rules = ArgumentRules(control, document)
        self._notation = notation
        self._control = control
        self._types = SchemaTypes(document)

    def grammar(self, schema: tree.Schema) -> str:
        """The grammar of arguments that match a schema of objects.

        Raises:
            ArgumentsRejected: The schema cannot be enforced.
        """
        starts = self.rules.arguments(
            schema, lambda shape: self.rules.members(shape, self._element, self._other_element)
        )
        return self.rules.grammar(starts)

    def _element(self, name: str, schema: tree.Schema) -> str:
        if any(character in name for character in "<>\n"):
            raise ArgumentsRejected(name, "a name with <, > or a line break cannot be written")
        if self._notation.name_end in name:
            raise ArgumentsRejected(name, f"a name with {self._notation.name_end} cannot be written")
        begin = self._control.literal(f"{self._notation.begin}{name}{self._notation.name_end}")
        return self.rules.rule(f"{begin} ({self._value(name, schema, self._types.of_property(name))})")

    def _other_element(self, shape: tree.Object) -> str:
        """An element whose name the schema does not list."""
        name = self.rules.other_name(shape, _NAME, self._notation.name_end)
        value = self._value("*", shape.additional, self._types.of_others())
        return self.rules.rule(f"{self._control.literal(self._notation.begin)} {name} ({value})")

    def _value(self, name: str, schema: tree.Schema, types: frozenset[str]) -> str:
        """A value, its markers and the end of its element; `types`: the types that the parser tries."""
        if not types:
            raise ArgumentsRejected(name, "no value can match it")
        if "string" not in types:
            return self._json(name, schema, types)
        shape = self.rules.shape(schema, name)
        excluded = [lark.containing(self._notation.end.strip(), *self._notation.excluded)]
        if self._notation.drops_line_breaks:
            excluded.append("\n(?s:.*)")
        if self._notation.string_begin == self._notation.json_begin:
            choices = [self._json(name, schema, json_types) for json_types in _json_types(shape)]
            excluded += _read_as_other_type(types, shape)
            texts = list(map(self.rules.terminal, self.rules.scalars(shape, SMALL_NUMBERS)))
        else:
            choices = [self._json(name, schema, types - {"string"})] if shape.has_other_types else []
            texts = []
        texts = self.rules.texts(shape, excluded, name) + texts
        if texts:
            begin = self._control.literal(self._notation.string_begin)
            choices.append(f"{begin} {self.rules.text_to(self._notation.end, texts)}")
        if not choices:
            raise ArgumentsRejected(name, "no value can match it")
        return " | ".join(choices)

    def _json(self, name: str, schema: tree.Schema, types: Collection[str]) -> str:
        """A value that is written as JSON."""
        literal = self._control.literal
        value = self.rules.json(schema, types, name)
        return f"{literal(self._notation.json_begin)} {value} {literal(self._notation.end)}"


def _json_types(shape: Shape) -> list[set[str]]:
    """Groups of types whose values are written as JSON. No allowed string starts like a value of these types."""
    groups = [{"number"}] if shape.has_bound_numbers else []
    if shape.arrays or shape.objects or shape.constants:
        groups.append({"array", "object"})
    return groups


def _read_as_other_type(types: frozenset[str], shape: Shape) -> list[str]:
    """Regular expressions for texts that the parser does not read as a string."""
    regexes = [rf"{_SPACE}\{_BRACKETS[type_]}(?s:.*)" for type_ in sorted(types & _BRACKETS.keys())]
    for type_ in sorted(types & _WORDS.keys()):
        regexes += [f"{_SPACE}{word}{_SPACE}" for word in _WORDS[type_]]
    if shape.has_bound_numbers:
        regexes.append(rf"{_SPACE}[\-0-9](?s:.*)")
    elif types & SMALL_NUMBERS.keys():
        # A larger number matches as a string. The parser reads it as one, unless it fits a double.
        regexes.append(f"{_SPACE}{SMALL_NUMBERS['number' if 'number' in types else 'integer']}{_SPACE}")
    if len(types) > 1 and TextShape() not in shape.texts:
        regexes.append(f'{_SPACE}"(?s:.*)"{_SPACE}')
    return regexes
