"""Writes the grammar of arguments that are like JSON but for bare names and strings between marks."""

import re
from collections import deque

from onward_server.grammar import lark
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.notation.rules import ArgumentRules, ArgumentsRejected
from onward_server.grammar.notation.shapes import ObjectShape
from onward_server.grammar.schema.tree import Array, Document, Never, Schema
from onward_server.grammar.tool_calls import BareNotation
from onward_server.grammar.values import canonical
from onward_server.json_value import Json

_COMMA = '","'
_BARE_NAME = re.compile(r"[\w.$\-]+")
_NAME = r"[\p{L}\p{N}_.$\-]+"


class BareArguments:
    """Writes those of one tool; a rule for each schema, so that schemas may refer to themselves."""

    def __init__(self, notation: BareNotation, control: ControlTokens, document: Document) -> None:
        self.rules = ArgumentRules(control, document)
        self._quote = notation.quote
        self._control = control
        self._mark = lark.containing(notation.quote)
        self._names: dict[str, str] = {}
        self._pending: deque[tuple[str, Schema, str]] = deque()

    def grammar(self, schema: Schema) -> str:
        """The grammar of what is in the outermost braces, for a schema of objects.

        Raises:
            ArgumentsRejected: It says what cannot be enforced.
        """
        ways = self.rules.arguments(schema, lambda shape: self._members(shape, ""))
        while self._pending:
            name, value, place = self._pending.popleft()
            self.rules.define(name, self._choices(value, place))
        return self.rules.grammar(ways)

    def _value(self, schema: Schema, place: str) -> str:
        """The rule of a schema, which may be written later."""
        key = self.rules.key(schema, place)
        if key not in self._names:
            self._names[key] = self.rules.new_rule()
            self._pending.append((self._names[key], schema, place))
        return self._names[key]

    def _choices(self, schema: Schema, place: str) -> list[str]:
        shape = self.rules.shape(schema, place)
        choices = self.rules.scalars(shape)
        if shape.has_bound_numbers:
            choices.append(self.rules.json(schema, {"number"}, place))
        if texts := self.rules.texts(place, shape.texts, [self._mark]):
            choices.append(f"{self._control.literal(self._quote)} {self.rules.text_to(self._quote, texts)}")
        choices += [f'"[" {self._items(choice, place)} "]"' for choice in shape.arrays]
        choices += [
            f'"{{" {members} "}}"'
            for choice in shape.objects
            if (members := self._members(choice, f"{place}.")) is not None
        ]
        choices += [self._control.literal(self._written(value, place)) for value in shape.constants]
        if not choices:
            raise ArgumentsRejected(place, "no value can match it")
        return choices

    def _items(self, shape: Array, place: str) -> str:
        named = [
            (self._value(schema, f"{place}[{index}]"), index < shape.min_items)
            for index, schema in enumerate(shape.first)
            if shape.max_items is None or index < shape.max_items
        ]
        maximum = None if shape.max_items is None else shape.max_items - len(named)
        minimum = max(0, shape.min_items - len(named))
        item = self._value(shape.rest, f"{place}[]") if maximum != 0 else None
        return self.rules.list_of(named, item, separator=_COMMA, minimum=minimum, maximum=maximum)

    def _members(self, shape: ObjectShape, prefix: str) -> str | None:
        items = [
            (self._member(name, schema, f"{prefix}{name}"), name in shape.required)
            for name, schema in shape.properties.items()
            if not isinstance(schema, Never)
        ]
        return self.rules.in_order(
            items,
            None if isinstance(shape.additional, Never) else self._further_member(shape, prefix),
            separator=_COMMA,
            maximum=shape.max_additional,
            needs_one=shape.needs_one,
        )

    def _member(self, name: str, schema: Schema, place: str) -> str:
        return self.rules.rule(f"{self._control.literal(f'{self._name(name, place)}:')} {self._value(schema, place)}")

    def _further_member(self, shape: ObjectShape, prefix: str) -> str:
        taken = f" & ~/{'|'.join(map(lark.regex_literal, shape.properties))}/" if shape.properties else ""
        name = self.rules.text_to(":", [self.rules.terminal(f"/{_NAME}/{taken}")])
        return self.rules.rule(f"{name} {self._value(shape.additional, f'{prefix}*')}")

    def _name(self, name: str, place: str) -> str:
        return name if _BARE_NAME.fullmatch(name) else self._quoted(name, place)

    def _quoted(self, text: str, place: str) -> str:
        if self._quote in text:
            raise ArgumentsRejected(place, f"a text that holds {self._quote} cannot be written")
        return f"{self._quote}{text}{self._quote}"

    def _written(self, value: Json, place: str) -> str:
        """One value."""
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
