"""Reads the keywords of a JSON Schema whose values contain no schemas, and records the first one that is invalid."""

from collections.abc import Mapping
from math import isfinite
from typing import TypeGuard

from onward_server.grammar.schema.numbers import Bounds, bounds
from onward_server.grammar.schema.patterns import PatternRejected, rewritten
from onward_server.grammar.schema.string_formats import MAX_LENGTHS, PATTERNS
from onward_server.grammar.schema.tree import Number, Text
from onward_server.grammar.values import MAX_EXACT, unwritable
from onward_server.json_value import Json, JsonObject

NUMBER_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
TEXT_KEYWORDS = ("minLength", "maxLength", "pattern", "format")
_MAX_PATTERN_LENGTH = 10_000
_MAX_PATTERNS_LENGTH = 100_000


class KeywordReader:
    """Reads the keywords of one document; an invalid one counts as absent."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """The first invalid keyword, with its place and the reason."""
        self.num_patterns = 0
        self._patterns_length = 0

    def number(self, schema: JsonObject, place: str, *, is_integer: bool) -> Number:
        numbers: dict[str, float] = {}
        for keyword in NUMBER_KEYWORDS:
            value = schema.get(keyword)
            if _is_number(value) or (isinstance(value, bool) and keyword.startswith("exclusive")):
                numbers[keyword] = value
            elif keyword in schema:
                self.reject(f"{place}/{keyword}", f"{value!r:.40} is not a number")
        multiple = numbers.get("multipleOf")
        if multiple is not None and multiple <= 0:
            self.reject(f"{place}/multipleOf", f"{multiple} is not greater than 0")
            multiple = None
        try:
            limits = bounds(numbers)
        except ValueError as error:
            self.reject(place, str(error))
            limits = Bounds()
        return Number(place, is_integer, *limits, multiple)

    def text(self, schema: JsonObject, place: str) -> Text:
        minimum, maximum = self.counts(schema, place, "minLength", "maxLength")
        patterns: list[str] = []
        if "pattern" in schema:
            patterns += self.pattern(schema["pattern"], f"{place}/pattern")
        if "format" in schema:
            name = schema["format"]
            if isinstance(name, str) and name in PATTERNS:
                patterns += PATTERNS[name]
                limits = [limit for limit in (maximum, MAX_LENGTHS.get(name)) if limit is not None]
                maximum = min(limits, default=None)
            else:
                known = ", ".join(sorted(PATTERNS))
                self.reject(
                    f"{place}/format", f"the format {name!r:.40} cannot be enforced; supported formats are {known}"
                )
        self.num_patterns += len(patterns)
        return Text(place, minimum, maximum, tuple(patterns))

    def pattern(self, pattern: Json, place: str) -> list[str]:
        """The pattern in llguidance's syntax, as a list; empty if it cannot be enforced."""
        if not isinstance(pattern, str):
            self.reject(place, f"{pattern!r:.40} is not a string; a regular expression is expected")
            return []
        self._patterns_length += len(pattern)
        if len(pattern) > _MAX_PATTERN_LENGTH:
            self.reject(place, f"the pattern has {len(pattern)} characters; at most {_MAX_PATTERN_LENGTH} are allowed")
            return []
        if self._patterns_length > _MAX_PATTERNS_LENGTH:
            total = f"{self._patterns_length} characters in total; at most {_MAX_PATTERNS_LENGTH} are allowed"
            self.reject(place, f"the patterns up to this one have {total}")
            return []
        try:
            return [rewritten(pattern)]
        except PatternRejected as error:
            self.reject(place, f"in the pattern {pattern!r:.80}, {error}")
            return []

    def counts(self, schema: Mapping[str, Json], place: str, least: str, most: str) -> tuple[int, int | None]:
        """The values of a pair of keywords for lengths or numbers of items."""
        low = self._count(schema[least], f"{place}/{least}") if least in schema else 0
        return low, self._count(schema[most], f"{place}/{most}") if most in schema else None

    def _count(self, value: Json, place: str) -> int:
        if _is_number(value) and 0 <= value <= MAX_EXACT and value == int(value):
            return int(value)
        self.reject(place, f"{value!r:.40} is not a whole number of at least 0")
        return 0

    def names(self, value: Json, place: str) -> tuple[str, ...]:
        listed = value if isinstance(value, list) else []
        names = [name for name in listed if isinstance(name, str)]
        if not isinstance(value, list) or len(names) < len(listed):
            self.reject(place, f"{value!r:.40} is not a list of names")
        for name in names:
            self.check_value(name, place)
        return tuple(dict.fromkeys(names))

    def items(self, value: Json, place: str) -> list[Json]:
        if isinstance(value, list) and value:
            return value
        self.reject(place, f"{value!r:.40} is not a list of at least one item")
        return []

    def members(self, value: Json, place: str) -> JsonObject:
        if isinstance(value, dict):
            return value
        self.reject(place, f"{value!r:.40} is not an object")
        return {}

    def check_value(self, value: Json, place: str) -> None:
        if (reason := unwritable(value)) is not None:
            self.reject(place, reason)

    def reject(self, place: str, reason: str) -> None:
        if self.problem is None:
            self.problem = f"at {place}: {reason}"


def _is_number(value: Json) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
