"""Reads the bounds of numbers, and finds bounds and multiples that llguidance would not enforce exactly."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple

from onward_server.grammar.schema.tree import Number
from onward_server.grammar.values import MAX_EXACT

_MAX_MULTIPLE = 2000


class Bounds(NamedTuple):
    """The fields of `Number` of the same names."""

    minimum: float | None = None
    maximum: float | None = None
    excludes_minimum: bool = False
    excludes_maximum: bool = False


def bounds(schema: Mapping[str, Any]) -> Bounds:
    """The tighter of the inclusive and the exclusive bound at each end; in draft 4, exclusive bounds are flags.

    Raises:
        ValueError: A bound is not exact as a double; the message says which.
    """
    low, excludes_low = _tighter(schema, "minimum", "exclusiveMinimum", sign=1)
    high, excludes_high = _tighter(schema, "maximum", "exclusiveMaximum", sign=-1)
    return Bounds(low, high, excludes_low, excludes_high)


def _tighter(schema: Mapping[str, Any], inclusive: str, exclusive: str, *, sign: int) -> tuple[float | None, bool]:
    closed, open_ = schema.get(inclusive), schema.get(exclusive)
    if isinstance(open_, bool):
        open_ = closed if open_ else None
    given = [(sign * bound, is_open) for bound, is_open in ((closed, False), (open_, True)) if bound is not None]
    if not given:
        return None, False
    bound, is_open = max(given)
    if bound > MAX_EXACT:
        raise ValueError(f"the bound {sign * bound} is beyond 2^53 and cannot be enforced")
    return (sign * bound, is_open) if bound >= -MAX_EXACT else (-sign * MAX_EXACT, False)


def inexact(numbers: Sequence[Number], *, are_combined: bool) -> str | None:
    """Why llguidance would not enforce the numbers of a document exactly, with the place; None if it would.

    `are_combined`: several of them may apply to one value.
    """
    groups = [numbers] if are_combined else [(number,) for number in numbers]
    return next(filter(None, map(_open_end, groups)), None) or _multiples(numbers)


def _open_end(numbers: Sequence[Number]) -> str | None:
    """Rejects ranges in which llguidance would allow an excluded bound.

    It does so if the range is narrower than 1 and its end nearer to zero is a whole number.
    """
    reals = [number for number in numbers if not number.is_integer]
    highs = [number.maximum for number in reals if number.maximum is not None]
    lows = [number.minimum for number in reals if number.minimum is not None]
    for number in reals:
        low = number.minimum if number.excludes_minimum else None
        if low is not None and low >= 0 and low == int(low) and any(low < high < low + 1 for high in highs):
            return f"at {number.place}: exclusiveMinimum {low:g} cannot be enforced with a maximum below {low + 1:g}"
        high = number.maximum if number.excludes_maximum else None
        if high is not None and high <= 0 and high == int(high) and any(high - 1 < low < high for low in lows):
            return f"at {number.place}: exclusiveMaximum {high:g} cannot be enforced with a minimum above {high - 1:g}"
    return None


def _multiples(numbers: Sequence[Number]) -> str | None:
    """Rejects costly multiples.

    The number of states that llguidance needs is their least common multiple, without decimal point and trailing zeros.
    """
    common = Fraction(1)
    for number in numbers:
        if number.multiple_of is None:
            continue
        multiple = Fraction(repr(number.multiple_of))
        common = Fraction(lcm(common.numerator, multiple.numerator), gcd(common.denominator, multiple.denominator))
        if max(map(_without_tens, (common, multiple))) > _MAX_MULTIPLE:
            return (
                f"at {number.place}: multipleOf {number.multiple_of:g} cannot be enforced; it and its least common "
                f"multiple with the others, without decimal point and trailing zeros, may be at most {_MAX_MULTIPLE}"
            )
    return None


def _without_tens(number: Fraction) -> int:
    """The digits of a decimal fraction, without its decimal point and trailing zeros."""
    return int(str((number * 10**30).numerator).rstrip("0"))
