"""The grammar rules that all notations other than JSON share."""

import json
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

from onward_server.grammar import lark
from onward_server.grammar.notation.shapes import Shape, TextShape, shape_of
from onward_server.grammar.response_formats import Probe
from onward_server.grammar.schema import tree
from onward_server.grammar.schema.patterns import whole
from onward_server.grammar.schema.writer import written, written_alone

_INTEGER = "-?(?:0|[1-9][0-9]*)"
NUMBERS = {"integer": _INTEGER, "number": rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?"}
"""Regular expressions for numbers, by their type."""
_SMALL_INTEGER = "-?(?:0|[1-9][0-9]{0,199})"
SMALL_NUMBERS = {
    "integer": _SMALL_INTEGER,
    "number": rf"{_SMALL_INTEGER}(?:\.[0-9]+)?(?:[eE](?:-[0-9]+|\+?[0-9]{{1,2}}))?",
}
"""Regular expressions for numbers that are never too large for a double, by their type."""


class ArgumentsRejected(Exception):
    """Arguments that cannot be enforced in a notation; the message says which argument and why."""

    def __init__(self, argument: str, description: str) -> None:
        where = f"the argument {argument!r}: " if argument else ""
        super().__init__(f"{where}{description}, in the tool format of this model")


class ArgumentRules:
    """Collects the rules of one tool's arguments. Methods that write a rule return its name.

    `argument`: the name to report in errors; empty: the arguments as a whole.
    Every method that takes a schema raises ArgumentsRejected if the schema cannot be enforced.
    """

    def __init__(self, control: lark.ControlTokens, document: tree.Document) -> None:
        self.probes: list[Probe] = []
        self._document = document
        self._control = control
        self._lines: list[str] = []
        self._num_names = 0

    def grammar(self, starts: Iterable[str]) -> str:
        """All rules; a match starts with any of `starts`."""
        return "\n".join([f"start: {' | '.join(starts)}", *self._lines])

    def arguments(self, schema: tree.Schema, write: Callable[[tree.Object], str | None]) -> list[str]:
        """Calls `write` for each shape of the arguments object; returns the rules, at least one."""
        shape = self.shape(schema, "")
        if shape.constants:
            raise ArgumentsRejected("", "enum and const of the whole arguments object cannot be enforced")
        written = [rule for object_ in shape.objects if (rule := write(object_)) is not None]
        if not written:
            raise ArgumentsRejected("", "no value can match it")
        return written

    def shape(self, schema: tree.Schema, argument: str) -> Shape:
        """The values that match a schema, grouped by type."""
        with _naming(argument):
            return shape_of(schema, self._document)

    def key(self, schema: tree.Schema, argument: str) -> str:
        """A text that is the same for schemas that mean the same."""
        with _naming(argument):
            return json.dumps(written_alone(schema, self._document))

    def new_rule(self) -> str:
        """The name of a rule that `define` defines later."""
        return self._new_name("r")

    def define(self, name: str, choices: Iterable[str]) -> None:
        self._lines.append(f"{name}: {' | '.join(choices)}")

    def rule(self, *choices: str) -> str:
        name = self.new_rule()
        self.define(name, choices)
        return name

    def terminal(self, definition: str) -> str:
        name = self._new_name("T")
        self.define(name, [definition])
        return name

    def text_to(self, marker: str, definitions: Iterable[str]) -> str:
        """A text that matches one of the terminals, and the marker after it, which the text does not contain."""
        reference, lines = self._control.text_to(marker, self._new_name("T"), " | ".join(definitions))
        self._lines += lines
        return reference

    def other_name(self, shape: tree.Object, regex: str, marker: str) -> str:
        """The name of a property that the object does not list, and the marker after it."""
        listed = f" & ~/{'|'.join(map(lark.regex_literal, shape.properties))}/" if shape.properties else ""
        return self.text_to(marker, [self.terminal(f"/{regex}/{listed}")])

    def json(self, schema: tree.Schema, types: Collection[str], argument: str) -> str:
        """JSON that matches a schema and has one of these types."""
        with _naming(argument):
            result = written(tree.AllOf(schema.place, (tree.of_types(types), schema)), self._document)
        return self.rule(f"%json {json.dumps(lark.json_schema(result.schema))}")

    def scalars(self, shape: Shape, numbers: Mapping[str, str] = NUMBERS) -> list[str]:
        """Terminals for null, booleans and numbers without bounds; `numbers`: regular expressions for the latter."""
        words = map(lark.quoted, sorted(shape.words))
        return [*words, *(f"/{numbers[type_]}/" for type_ in sorted(shape.free_numbers))]

    def texts(self, shape: Shape, excluded: Sequence[str], argument: str) -> list[str]:
        """Terminals for unquoted strings, without those that match a regular expression of `excluded`."""
        return [terminal for text in shape.texts if (terminal := self._text(text, excluded, argument)) is not None]

    def members(
        self,
        shape: tree.Object,
        listed: Callable[[str, tree.Schema], str],
        other: Callable[[tree.Object], str],
        separator: str = "",
    ) -> str | None:
        """The listed properties of an object in their order, then the others; None: no object matches.

        `listed` writes one listed property, `other` one property that the object does not list.
        """
        items = [
            (listed(name, schema), name in shape.required)
            for name, schema in shape.properties.items()
            if not isinstance(schema, tree.Never)
        ]
        maximum = None if shape.max_properties is None else shape.max_properties - len(items)
        further = None if isinstance(shape.additional, tree.Never) else other(shape)
        further = further if maximum != 0 else None
        # `rest` matches the remaining properties after a written one, `first` those if none has been written yet.
        rest = self.rule(repeated(f"{separator} {further}", 0, maximum) if further else '""')
        first: str | None = rest
        needs_one = shape.min_properties > len(shape.required)
        if separator or needs_one:
            choices = [] if needs_one else ['""']
            if further:
                choices.append(f"{further} {repeated(f'{separator} {further}', 0, maximum, less=1)}")
            first = self.rule(*choices) if choices else None
        for item, is_required in reversed(items):
            without = [] if is_required else [rest]
            first_without = [first] if first and not is_required else []
            is_same = first == rest
            first = self.rule(f"{item} {rest}", *first_without)
            rest = first if is_same else self.rule(f"{separator} {item} {rest}", *without)
        return first

    def _text(self, shape: TextShape, excluded: Sequence[str], argument: str) -> str | None:
        if shape.choices is not None:
            choices = [one for one in shape.choices if not any(re.fullmatch(regex, one) for regex in excluded)]
            if not choices:
                return None
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

    def _new_name(self, prefix: str) -> str:
        self._num_names += 1
        return f"{prefix}{self._num_names}"


def repeated(rule: str, minimum: int, maximum: int | None, *, less: int = 0) -> str:
    """Repeats a rule between `minimum - less` and `maximum - less` times."""
    minimum = max(0, minimum - less)
    if maximum is None:
        return f"({rule}){{{minimum},}}"
    return f"({rule}){{{minimum},{maximum - less}}}" if maximum > less else '""'


@contextmanager
def _naming(argument: str) -> Generator[None]:
    """Converts SchemaRejected into an error that names the argument."""
    try:
        yield
    except tree.SchemaRejected as error:
        raise ArgumentsRejected(argument, str(error)) from error
