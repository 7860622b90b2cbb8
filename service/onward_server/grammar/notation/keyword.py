"""Writes the grammar of the keyword arguments of a Python call, whose values are JSON."""

import re

from onward_server.grammar import lark
from onward_server.grammar.notation.rules import ArgumentRules, ArgumentsRejected
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.value_types import ALL_TYPES

_WRITABLE_NAME = re.compile(r"[^\s,=()\[\]{}'\"]+")
_OTHER_NAME = r"[\p{L}_][\p{L}\p{N}_]*"


class KeywordArguments:
    """Writes the arguments of one tool."""

    def __init__(self, control: lark.ControlTokens, document: tree.Document) -> None:
        self.rules = ArgumentRules(control, document)
        self._control = control

    def grammar(self, schema: tree.Schema) -> str:
        """The grammar of the text between the parentheses, for a schema of objects.

        Raises:
            ArgumentsRejected: The schema cannot be enforced.
        """
        starts = self.rules.arguments(
            schema, lambda shape: self.rules.members(shape, self._argument, self._other_argument, '", "')
        )
        return self.rules.grammar(starts)

    def _argument(self, name: str, schema: tree.Schema) -> str:
        if not _WRITABLE_NAME.fullmatch(name):
            raise ArgumentsRejected(
                name, "an empty name, or one with white space or one of ,=()[]{}'\", cannot be written"
            )
        return self.rules.rule(f"{self._control.literal(f'{name}=')} {self.rules.json(schema, ALL_TYPES, name)}")

    def _other_argument(self, shape: tree.Object) -> str:
        """An argument whose name the schema does not list."""
        name = self.rules.other_name(shape, _OTHER_NAME, "=")
        return self.rules.rule(f"{name} {self.rules.json(shape.additional, ALL_TYPES, '*')}")
