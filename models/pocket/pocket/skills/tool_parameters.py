"""Kinds of function parameters: their names, schemas, values, and how users mention them."""

from collections.abc import Callable
from dataclasses import dataclass

from pocket.draw import Draw, Pool, pool, words
from pocket.words import COLOURS, DAYS


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of one function."""

    name: str
    kind: "ParameterKind"

    def schema(self, *, explains: bool) -> dict[str, str]:
        """The JSON Schema, with or without a description."""
        described = {"description": f"The {self.name.replace('_', ' ')}."} if explains else {}
        return {"type": self.kind.type, **described}

    def value(self, draw: Draw) -> tuple[object, str]:
        """An argument, and the text for it in a request."""
        value = self.kind.draw_value(draw)
        if isinstance(value, bool):
            return value, "on" if value else "off"
        return value, str(value)

    def phrase(self, draw: Draw, text: str, *, is_named: bool) -> str:
        """The part of a request with the argument; if named, it mentions the parameter."""
        said = NAMED if is_named or draw.chance(0.2) else self.kind.said
        return draw.of(said).format(name=self.name.replace("_", " "), v=text)


@dataclass(frozen=True, slots=True)
class ParameterKind:
    """The names, values and texts of one kind of parameter."""

    type: str
    names: Pool
    said: Pool
    draw_value: Callable[[Draw], object]
    known: tuple[str, ...] = ()
    """Names in known_tools that the checksum assigns to the evaluation, which leaves them out."""

    def parameter(self, draw: Draw) -> Parameter:
        """A parameter with a usual or an invented name, sometimes of two words."""
        if self.known and not draw.held_out and draw.chance(0.1):
            return Parameter(draw.any(self.known), self)
        name = draw.of(self.names) if draw.chance(0.75) else draw.coined()
        return Parameter(f"{draw.of(QUALIFIERS)}_{name}" if draw.chance(0.15) else name, self)


QUALIFIERS = words(
    "qualifier",
    "first last new old max min main home work next full short target default other total start end user",
)


NAMED = pool(
    "named argument",
    "[with|using|and|plus] [the |a |]{name} [of |set to |]{v}",
    "[with|using|and] [the |]{name} {v}",
    "where [the |]{name} is [set to |]{v}",
    "(the {name}[:| is| =] {v})",
    "({name}[:| is| =] {v})",
    "[with|and|using] [the |]{name}[:| =] {v}",
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
            "name person user item guest owner label target client member model subject topic key customer "
            "recipient receiver sender author artist product account contact project team file folder id code symbol "
            "message note phrase term word keyword category brand company employee student patient player",
        ),
        pool(
            "say string",
            "[for|to|called|named|from|of|by|with] {v}",
            "[for|to|from|by|with] [a friend|someone|a person|the person] [called|named] {v}",
            "[for|to|from|of|by|with] [the person|my friend|our friend|someone called] {v}",
            "[by the name of|with the name|under the name|of the name] {v}",
        ),
        _name,
        known=("query", "text", "title", "room"),
    ),
    ParameterKind(
        "string",
        words(
            "place parameter",
            "city place town country area region destination street station site venue address district "
            "village island port airport state county origin zone shop branch office warehouse stop",
        ),
        pool(
            "say place",
            "[in|at|near|around|inside|close to] {v}",
            "[over|out|somewhere|here] [in|at|near|around|close to] {v}",
            "[in|at|near|around|close to] the [town|city|place] [of|called|named] {v}",
        ),
        _name,
        known=("location",),
    ),
    ParameterKind(
        "integer",
        words(
            "integer parameter",
            "count amount number quantity hours size level price limit days seconds people age page total weeks "
            "months years duration length width height weight speed volume distance budget rate score rank rounds "
            "copies items guests seats rooms pieces percent degrees temperature brightness offset max min",
        ),
        pool(
            "say integer",
            "{v} [times|more times]",
            "[for|with|at|number|up to|about] {v}",
            "[for|with|up to|about|at] {v} [people|coins|minutes|pieces|more people|more minutes]",
            "[for up to|for about|with about|with up to] {v} [people|coins|minutes|pieces|times]",
        ),
        _amount,
        known=("minutes",),
    ),
    ParameterKind(
        "string",
        words("day parameter", "day date weekday when start deadline begin time end arrival departure due until since"),
        pool(
            "say day",
            "[on|by|next|this|before|until|after|from] {v}",
            "[on|by|before|until|after|from] [next|this] {v}",
            "[on|by|before|until|after|from] [the next|this coming|next coming] {v}",
        ),
        _day,
    ),
    ParameterKind(
        "string",
        words(
            "colour parameter", "colour color paint tone shade style ink tint hue theme background border finish look"
        ),
        pool(
            "say colour",
            "[in|all in|all|painted|painted in|coloured] {v}",
            "[in|all in|painted in|with] [bright|dark|light|plain] {v} [paint|colour]",
            "[in|all in|painted in|painted] [bright|dark|light|plain] {v}",
            "[in|with|of] the [colour|paint] {v}",
        ),
        _colour,
    ),
    ParameterKind(
        "boolean",
        words(
            "boolean parameter",
            "silent urgent private express quiet fast public sound backup safe insured enabled active loud bold "
            "secure visible verbose strict repeat shuffle autosave sync dark",
        ),
        NAMED,
        _switch,
    ),
)
