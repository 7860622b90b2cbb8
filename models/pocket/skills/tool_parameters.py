"""Kinds of function parameters: their names, schemas, values and how users speak of them; it knows no function."""

from collections.abc import Callable
from dataclasses import dataclass

from models.pocket.draw import Draw, Pool, pool, words
from models.pocket.words import COLOURS, DAYS


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of one function."""

    name: str
    kind: "ParameterKind"

    def schema(self, *, explains: bool) -> dict[str, str]:
        """The JSON Schema, with a description or without."""
        described = {"description": f"The {self.name.replace('_', ' ')}."} if explains else {}
        return {"type": self.kind.type, **described}

    def value(self, draw: Draw) -> tuple[object, str]:
        """An argument, and its text in a request."""
        value = self.kind.draw_value(draw)
        if isinstance(value, bool):
            return value, "on" if value else "off"
        return value, str(value)

    def phrase(self, draw: Draw, text: str, *, is_named: bool) -> str:
        """The part of a request that holds the argument; a named one says which parameter it is for."""
        said = NAMED if is_named or draw.chance(0.2) else self.kind.said
        return draw.of(said).format(name=self.name.replace("_", " "), v=text)


@dataclass(frozen=True, slots=True)
class ParameterKind:
    """What parameters of one kind share."""

    type: str
    names: Pool
    said: Pool
    draw_value: Callable[[Draw], object]

    def parameter(self, draw: Draw) -> Parameter:
        """A parameter with a usual or an invented name."""
        return Parameter(draw.of(self.names) if draw.chance(0.75) else draw.coined(), self)


NAMED = pool(
    "named argument",
    "with {name} {v}",
    "with the {name} {v}",
    "({name}: {v})",
    "{name} {v}",
    "using {name} {v}",
    "and {name} {v}",
    "where {name} is {v}",
    "with {name} set to {v}",
)


def _name(draw: Draw) -> object:
    return draw.name()


def _amount(draw: Draw) -> object:
    return draw.count(0, 100)


def _day(draw: Draw) -> object:
    return draw.any(DAYS)


def _colour(draw: Draw) -> object:
    return draw.any(COLOURS)


def _switch(draw: Draw) -> object:
    return draw.chance(0.5)


PARAMETERS = (
    ParameterKind(
        "string",
        words(
            "string parameter",
            "name person user item title guest owner label target client member model subject topic key query",
        ),
        pool("say string", "for {v}", "to {v}", "called {v}", "named {v}", "from {v}", "of {v}", "by {v}", "with {v}"),
        _name,
    ),
    ParameterKind(
        "string",
        words("place parameter", "city place town location country area region destination street station site venue"),
        pool(
            "say place",
            "in {v}",
            "at {v}",
            "near {v}",
            "around {v}",
            "inside {v}",
            "close to {v}",
            "over in {v}",
            "out in {v}",
        ),
        _name,
    ),
    ParameterKind(
        "integer",
        words(
            "integer parameter",
            "count amount number quantity minutes hours size level price limit days seconds people age page total",
        ),
        pool(
            "say integer",
            "{v} times",
            "for {v} people",
            "with {v}",
            "at {v}",
            "number {v}",
            "up to {v}",
            "for {v} coins",
            "for {v} minutes",
        ),
        _amount,
    ),
    ParameterKind(
        "string",
        words("day parameter", "day date weekday when start deadline begin time"),
        pool("say day", "on {v}", "by {v}", "next {v}", "this {v}", "before {v}", "until {v}", "after {v}", "from {v}"),
        _day,
    ),
    ParameterKind(
        "string",
        words("colour parameter", "colour color paint tone shade style ink tint"),
        pool(
            "say colour",
            "in {v}",
            "in the colour {v}",
            "all {v}",
            "painted {v}",
            "with {v} paint",
            "in bright {v}",
            "in dark {v}",
            "coloured {v}",
        ),
        _colour,
    ),
    ParameterKind(
        "boolean",
        words("boolean parameter", "light silent urgent private express quiet fast public sound backup safe insured"),
        NAMED,
        _switch,
    ),
)
