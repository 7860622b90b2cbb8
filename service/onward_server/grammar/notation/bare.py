"""Writes the grammar of arguments that look like JSON with unquoted names and with strings between quote markers."""

import re
from collections import deque

from onward_server.grammar import lark
from onward_server.grammar.notation.rules import ArgumentRules, ArgumentsRejected, repeated
from onward_server.grammar.schema import tree
from onward_server.grammar.tool_calls import BareNotation
from onward_server.grammar.values import canonical
from onward_server.json_value import Json

_COMMA = '","'
_BARE_NAME = re.compile(r"[\w.$\-]+")
_NAME = r"[\p{L}\p{N}_.$\-]+"


class BareArguments:
    """Writes the arguments of one tool. Each schema becomes a rule, so schemas may be recursive."""

    def __init__(self, notation: BareNotation, control: lark.ControlTokens, document: tree.Document) -> None:
        self.rules = ArgumentRules(control, document)
        self._quote = notation.quote
        self._control = control
        self._names: dict[str, str] = {}
        self._pending: deque[tuple[str, tree.Schema, str]] = deque()

    def grammar(self, schema: tree.Schema) -> str:
        """The grammar of the text between the outermost braces, for a schema of objects.

        Raises:
            ArgumentsRejected: The schema cannot be enforced.
        """
        starts = self.rules.arguments(schema, lambda shape: self._members(shape, ""))
        while self._pending:
            name, value, place = self._pending.popleft()
            self.rules.define(name, self._choices(value, place))
        return self.rules.grammar(starts)

    def _value(self, schema: tree.Schema, place: str) -> str:
        """The name of a schema's rule; a new rule is queued and defined later."""
        key = self.rules.key(schema, place)
        if key not in self._names:
            self._names[key] = self.rules.new_rule()
            self._pending.append((self._names[key], schema, place))
        return self._names[key]

    def _choices(self, schema: tree.Schema, place: str) -> list[str]:
        shape = self.rules.shape(schema, place)
        choices = self.rules.scalars(shape)
        if shape.has_bound_numbers:
            choices.append(self.rules.json(schema, {"number"}, place))
        if texts := self.rules.texts(shape, [lark.containing(self._quote)], place):
            choices.append(f"{self._control.literal(self._quote)} {self.rules.text_to(self._quote, texts)}")
        choices += [f'"[" {self._items(array, place)} "]"' for array in shape.arrays]
        members = [self._members(object_, f"{place}.") for object_ in shape.objects]
        choices += [f'"{{" {rule} "}}"' for rule in members if rule is not None]
        choices += [self._control.literal(self._written(value, place)) for value in shape.constants]
        if not choices:
            raise ArgumentsRejected(place, "no value can match it")
        return choices

    def _items(self, shape: tree.Array, place: str) -> str:
        """The items of a tuple, then any further items. Optional tuple items may be missing from the end."""
        first = [
            self._value(schema, f"{place}[{index}]") for index, schema in enumerate(shape.first[: shape.max_items])
        ]
        maximum = None if shape.max_items is None else shape.max_items - len(first)
        minimum = max(0, shape.min_items - len(first))
        item = self._value(shape.rest, f"{place}[]") if maximum != 0 else None
        if not first and item:
            items = f"{item} {repeated(f'{_COMMA} {item}', minimum, maximum, less=1)}"
            return self.rules.rule(items, *([] if minimum else ['""']))
        rest = self.rules.rule(repeated(f"{_COMMA} {item}", minimum, maximum) if item else '""')
        for index, one in reversed(list(enumerate(first))):
            without = [] if index < shape.min_items else ['""']
            rest = self.rules.rule(f"{_COMMA if index else ''} {one} {rest}", *without)
        return rest

    def _members(self, shape: tree.Object, prefix: str) -> str | None:
        return self.rules.members(
            shape,
            lambda name, schema: self._member(name, schema, f"{prefix}{name}"),
            lambda shape: self._other_member(shape, prefix),
            _COMMA,
        )

    def _member(self, name: str, schema: tree.Schema, place: str) -> str:
        return self.rules.rule(f"{self._control.literal(f'{self._name(name, place)}:')} {self._value(schema, place)}")

    def _other_member(self, shape: tree.Object, prefix: str) -> str:
        name = self.rules.other_name(shape, _NAME, ":")
        return self.rules.rule(f"{name} {self._value(shape.additional, f'{prefix}*')}")

    def _name(self, name: str, place: str) -> str:
        return name if _BARE_NAME.fullmatch(name) else self._quoted(name, place)

    def _quoted(self, text: str, place: str) -> str:
        if self._quote in text:
            raise ArgumentsRejected(place, f"a string or name that contains {self._quote} cannot be written")
        return f"{self._quote}{text}{self._quote}"

    def _written(self, value: Json, place: str) -> str:
        """One value in this notation."""
        match value:
            case str():
                return self._quoted(value, place)
            case list():
                return f"[{','.join(self._written(item, place) for item in value)}]"
            case dict():
                members = (f"{self._name(name, place)}:{self._written(item, place)}" for name, item in value.items())
                return f"{{{','.join(members)}}}"
            case _:
                return canonical(value)
