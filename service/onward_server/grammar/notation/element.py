"""Writes the grammar of arguments that are elements of their own, each read by the types of its schema.

A text is read as the first of the argument's types that it is JSON of, else as a string. So where a string is one type
of several, what it may be is less: no text that would be read as another, unless any value of that other matches.
"""

from onward_server.grammar import lark
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.notation.rules import NUMBERS, ArgumentRules, ArgumentsRejected
from onward_server.grammar.notation.shapes import ObjectShape, Shape
from onward_server.grammar.schema.tree import Document, Never, Schema
from onward_server.grammar.schema.value_types import SchemaTypes
from onward_server.grammar.tool_calls import ElementNotation

_NAME = "[^<>\\n]"
_SPACE = "[ \\t\\n\\r]*"
_BRACKETS = {"array": "[", "object": "{"}
_WORDS = {"null": ("null", "None"), "boolean": ("true", "True", "false", "False")}


class ElementArguments:
    """Writes those of one tool."""

    def __init__(self, notation: ElementNotation, control: ControlTokens, document: Document) -> None:
        self.rules = ArgumentRules(control, document)
        self._notation = notation
        self._control = control
        self._types = SchemaTypes(document)
        self._mark = lark.containing(notation.end.strip())

    def grammar(self, schema: Schema) -> str:
        """The grammar of arguments that match a schema of objects.

        Raises:
            ArgumentsRejected: It says what cannot be enforced.
        """
        return self.rules.grammar(self.rules.arguments(schema, self._object))

    def _object(self, shape: ObjectShape) -> str | None:
        items = [
            (self._element(name, schema), name in shape.required)
            for name, schema in shape.properties.items()
            if not isinstance(schema, Never)
        ]
        return self.rules.in_order(
            items,
            None if isinstance(shape.additional, Never) else self._further_element(shape),
            maximum=shape.max_additional,
            needs_one=shape.needs_one,
        )

    def _element(self, name: str, schema: Schema) -> str:
        if any(character in name for character in "<>\n"):
            raise ArgumentsRejected(name, "the name cannot be written")
        begin = self._control.literal(f"{self._notation.begin}{name}{self._notation.name_end}")
        return self.rules.rule(f"{begin} ({self._value(name, schema, self._types.of_property(name))})")

    def _further_element(self, shape: ObjectShape) -> str:
        """An element whose name the schema does not say."""
        taken = f" & ~/{'|'.join(map(lark.regex_literal, shape.properties))}/" if shape.properties else ""
        name = self.rules.text_to(self._notation.name_end, [self.rules.terminal(f"/{_NAME}+/{taken}")])
        value = self._value("*", shape.additional, self._types.of_others())
        return self.rules.rule(f"{self._control.literal(self._notation.begin)} {name} ({value})")

    def _value(self, name: str, schema: Schema, types: frozenset[str]) -> str:
        """A value and what ends it; `types`: those that its reader thinks possible."""
        end = self._control.literal(self._notation.end)
        if not types:
            raise ArgumentsRejected(name, "no value can match it")
        if "string" not in types:
            return f"{self.rules.json(schema, types, name)} {end}"
        shape = self.rules.shape(schema, name)
        choices = [f"{self.rules.json(schema, kinds, name)} {end}" for kinds in _json_kinds(shape)]
        texts = self.rules.texts(name, shape.texts, [self._mark, *_read_otherwise(types, shape)])
        texts += map(self.rules.terminal, self.rules.scalars(shape))
        if texts:
            choices.append(self.rules.text_to(self._notation.end, texts))
        if not choices:
            raise ArgumentsRejected(name, "no value can match it")
        return " | ".join(choices)


def _json_kinds(shape: Shape) -> list[set[str]]:
    """Types of values that begin as no text of the argument does."""
    kinds = [{"number"}] if shape.has_bound_numbers else []
    if shape.arrays or shape.objects or shape.constants:
        kinds.append({"array", "object"})
    return kinds


def _read_otherwise(types: frozenset[str], shape: Shape) -> list[str]:
    """Regular expressions for texts that are not read as the string that they are."""
    regexes = [rf"{_SPACE}\{_BRACKETS[type_]}(?s:.*)" for type_ in sorted(types & _BRACKETS.keys())]
    for type_ in sorted(types & _WORDS.keys()):
        regexes += [f"{_SPACE}{word}{_SPACE}" for word in _WORDS[type_]]
    if shape.has_bound_numbers:
        regexes.append(rf"{_SPACE}[\-0-9](?s:.*)")
    elif types & NUMBERS.keys():
        regexes.append(f"{_SPACE}{NUMBERS['number' if 'number' in types else 'integer']}{_SPACE}")
    if len(types) > 1 and not any(text.is_free for text in shape.texts):
        regexes.append(f'{_SPACE}"(?s:.*)"{_SPACE}')
    return regexes
