"""The grammar rules of one tool's arguments, for notations that are not JSON as a whole."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from onward_server.grammar import lark
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.notation.shapes import ObjectShape, Shape, ShapeRejected, TextShape, shape_of
from onward_server.grammar.response_formats import Probe
from onward_server.grammar.schema.patterns import whole
from onward_server.grammar.schema.tree import AllOf, Document, Schema, SchemaRejected, of_types
from onward_server.grammar.schema.writer import written, written_alone

_INTEGER = "-?(?:0|[1-9][0-9]*)"
NUMBERS = {"integer": _INTEGER, "number": rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?"}


class ArgumentsRejected(Exception):
    """Arguments that cannot be enforced in a notation; the message says where and why."""

    def __init__(self, argument: str, description: str) -> None:
        where = f"the argument {argument!r}: " if argument else ""
        super().__init__(f"{where}{description}, in the way in which this model writes calls")


class ArgumentRules:
    """The rules written so far."""

    def __init__(self, control: ControlTokens, document: Document) -> None:
        self._document = document
        self.probes: list[Probe] = []
        self._control = control
        self._lines: list[str] = []
        self._num_names = 0

    def grammar(self, ways: Iterable[str]) -> str:
        """All rules, to start with one of several ways."""
        return "\n".join([f"start: {' | '.join(ways)}", *self._lines])

    def shape(self, schema: Schema, place: str) -> Shape:
        """The shape of an argument's schema, or of all arguments' where there is no place.

        Raises:
            ArgumentsRejected: It combines what cannot be combined.
        """
        try:
            return shape_of(schema, self._document)
        except ShapeRejected as error:
            raise ArgumentsRejected(place, str(error)) from error

    def arguments(self, schema: Schema, write: Callable[[ObjectShape], str | None]) -> list[str]:
        """Each way to write all arguments.

        Raises:
            ArgumentsRejected: There is none, or they are listed as a whole.
        """
        shape = self.shape(schema, "")
        if shape.constants:
            raise ArgumentsRejected("", "arguments that are listed as a whole cannot be enforced")
        ways = [way for choice in shape.objects if (way := write(choice)) is not None]
        if not ways:
            raise ArgumentsRejected("", "no value can match it")
        return ways

    def new_rule(self) -> str:
        """The name of a rule that is still to be defined."""
        self._num_names += 1
        return f"r{self._num_names}"

    def define(self, name: str, choices: Iterable[str]) -> None:
        self._lines.append(f"{name}: {' | '.join(choices)}")

    def rule(self, *choices: str) -> str:
        name = self.new_rule()
        self.define(name, choices)
        return name

    def text_to(self, mark: str, definitions: Sequence[str]) -> str:
        """A text of one of several terminals, to the mark behind it, which none of them contains."""
        reference, lines = self._control.text_to(mark, self._new_terminal(), " | ".join(definitions))
        self._lines += lines
        return reference

    def terminal(self, definition: str) -> str:
        name = self._new_terminal()
        self._lines.append(f"{name}: {definition}")
        return name

    def texts(self, argument: str, shapes: Iterable[TextShape], excluded: Sequence[str]) -> list[str]:
        """Terminals for strings as they are, of which no regular expression of `excluded` matches any."""
        return [self._text(argument, shape, excluded) for shape in shapes if _has_choice(shape, excluded)]

    def json(self, schema: Schema, types: Collection[str], place: str) -> str:
        """JSON that matches a schema and is of one of these types.

        Raises:
            ArgumentsRejected: llguidance would not enforce it.
        """
        try:
            result = written(AllOf(schema.place, (of_types(types), schema)), self._document)
        except SchemaRejected as error:
            raise ArgumentsRejected(place, str(error)) from error
        return self.rule(f"%json {json.dumps(lark.json_schema(result.schema))}")

    def key(self, schema: Schema, place: str) -> str:
        """A text that is the same for schemas that mean the same.

        Raises:
            ArgumentsRejected: llguidance would not enforce it.
        """
        try:
            return json.dumps(written_alone(schema, self._document))
        except SchemaRejected as error:
            raise ArgumentsRejected(place, str(error)) from error

    def scalars(self, shape: Shape) -> list[str]:
        """Null, booleans and numbers, those aside that are bound by more than a list."""
        words = map(lark.quoted, sorted(shape.words))
        return [*words, *(f"/{NUMBERS[type_]}/" for type_ in sorted(shape.free_numbers))]

    def in_order(
        self,
        items: Sequence[tuple[str, bool]],
        further: str | None,
        *,
        separator: str = "",
        maximum: int | None = None,
        needs_one: bool = False,
    ) -> str | None:
        """Items, each with whether it must be there, then further ones up to a maximum; None: nothing is left."""
        further = further if maximum != 0 else None
        after = self.rule(_repeated(f"{separator} {further}", 0, maximum) if further else '""')
        first: str | None = after
        if separator or needs_one:
            one = [f"{further} {_repeated(f'{separator} {further}', 0, maximum, less=1)}"] if further else []
            choices = one if needs_one else ['""', *one]
            first = self.rule(*choices) if choices else None
        for item, is_required in reversed(items):
            begun = [] if is_required else [after]
            unbegun = [first] if first and not is_required else []
            is_same = first == after
            first = self.rule(f"{item} {after}", *unbegun)
            after = first if is_same else self.rule(f"{separator} {item} {after}", *begun)
        return first

    def list_of(
        self, first: Sequence[tuple[str, bool]], item: str | None, *, separator: str, minimum: int, maximum: int | None
    ) -> str:
        """The first items, of which those at the end may be left out that need not be there, then more of one kind."""
        if not first and item:
            some = f"{item} {_repeated(f'{separator} {item}', minimum, maximum, less=1)}"
            return self.rule(some, *([] if minimum else ['""']))
        after = self.rule(_repeated(f"{separator} {item}", minimum, maximum) if item else '""')
        for index, (one, is_required) in reversed(list(enumerate(first))):
            after = self.rule(f"{separator if index else ''} {one} {after}", *([] if is_required else ['""']))
        return after

    def _new_terminal(self) -> str:
        self._num_names += 1
        return f"T{self._num_names}"

    def _text(self, argument: str, shape: TextShape, excluded: Sequence[str]) -> str:
        if shape.choices is not None:
            choices = [choice for choice in shape.choices if not _is_any(choice, excluded)]
            parts = [f"/{'|'.join(map(lark.regex_literal, choices))}/"]
        else:
            parts = [f"/(?s:.{{{shape.min_length},{'' if shape.max_length is None else shape.max_length}}})/"]
            parts.append(lark.other_than(*excluded))
        parts += [f"/{whole(pattern)}/" for pattern in shape.patterns]
        definition = " & ".join(parts)
        if shape.patterns:
            grammar: lark.Grammar = {"lark_grammar": f"start: T\nT: {definition}"}
            probe = Probe(f"the argument {argument!r}: its strings and their patterns", grammar, must_match=True)
            if probe not in self.probes:
                self.probes.append(probe)
        return self.terminal(definition)


def _repeated(rule: str, minimum: int, maximum: int | None, *, less: int = 0) -> str:
    """A rule as often as is allowed, or `less` often."""
    minimum = max(0, minimum - less)
    if maximum is None:
        return f"({rule}){{{minimum},}}"
    return f"({rule}){{{minimum},{maximum - less}}}" if maximum > less else '""'


def _has_choice(shape: TextShape, excluded: Sequence[str]) -> bool:
    return shape.choices is None or not all(_is_any(choice, excluded) for choice in shape.choices)


def _is_any(text: str, regexes: Sequence[str]) -> bool:
    return any(re.fullmatch(regex, text) for regex in regexes)
