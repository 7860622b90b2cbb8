"""Refuses bounds and multiples of numbers that a grammar would get wrong; it knows no other keyword.

What is said of one number may stand in different places, so everything in a document is looked at together.
"""

from fractions import Fraction
from math import gcd, lcm

from onward_server.grammar.values import MAX_EXACT

_MAX_MULTIPLE = 2000


class NumbersRefused(Exception):
    """Numbers that a grammar would get wrong."""


class NumberLimits:
    """Those of one document."""

    def __init__(self) -> None:
        self._lower: list[float] = []
        self._upper: list[float] = []
        self._open_lower: list[float] = []
        self._open_upper: list[float] = []
        self._multiples: set[Fraction] = set()

    def add_lower(self, bound: float, *, is_open: bool) -> float:
        """Takes a minimum, and gives the one to enforce.

        Raises:
            NumbersRefused: It is beyond 2^53.
        """
        if bound > MAX_EXACT:
            raise NumbersRefused("bounds beyond 2^53 cannot be enforced")
        bound = max(bound, -MAX_EXACT)
        self._lower.append(bound)
        if is_open:
            self._open_lower.append(bound)
        return bound

    def add_upper(self, bound: float, *, is_open: bool) -> float:
        """Takes a maximum, and gives the one to enforce.

        Raises:
            NumbersRefused: It is beyond -2^53.
        """
        if bound < -MAX_EXACT:
            raise NumbersRefused("bounds beyond 2^53 cannot be enforced")
        bound = min(bound, MAX_EXACT)
        self._upper.append(bound)
        if is_open:
            self._open_upper.append(bound)
        return bound

    def add_multiple(self, multiple: float) -> None:
        """Takes a `multipleOf`."""
        self._multiples.add(Fraction(repr(multiple)))

    def check(self) -> None:
        """Looks at all that was taken.

        Raises:
            NumbersRefused: Some of it together would not be enforced.
        """
        self._check_open_ends()
        self._check_multiples()

    def _check_open_ends(self) -> None:
        """A grammar lets the open end of a range in where it is an integer, and the other end less than one away."""
        for low in self._open_lower:
            if low == int(low) and any(low < high < low + 1 for high in self._upper):
                raise NumbersRefused(f"exclusiveMinimum {low:g} cannot be enforced with a maximum less than 1 above it")
        for high in self._open_upper:
            if high == int(high) and any(high - 1 < low < high for low in self._lower):
                raise NumbersRefused(
                    f"exclusiveMaximum {high:g} cannot be enforced with a minimum less than 1 below it"
                )

    def _check_multiples(self) -> None:
        """A grammar divides with as many states as the least common multiple has steps, powers of ten aside."""
        common = Fraction(1)
        for multiple in self._multiples:
            numerator = lcm(common.numerator, multiple.numerator)
            common = Fraction(numerator, gcd(common.denominator, multiple.denominator))
        if any(_without_tens(multiple) > _MAX_MULTIPLE for multiple in (common, *self._multiples)):
            raise NumbersRefused(f"the values of multipleOf have no common multiple below {_MAX_MULTIPLE}")


def _without_tens(number: Fraction) -> int:
    """The digits of a decimal fraction, but for zeros at its end."""
    return int(str((number * 10**30).numerator).rstrip("0"))
