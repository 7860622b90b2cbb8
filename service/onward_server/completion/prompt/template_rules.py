"""How large the result of a function, method or filter may become, computed from its arguments.

A rule takes the budget and then the parameters of its function. For arguments that it cannot handle it raises, as the
function itself does for wrong ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import cast

from onward_server.completion.prompt.template_budget import (
    MAX_ESCAPED,
    MAX_SLOW_CHARACTERS,
    OBJECT_BYTES,
    REFERENCE_BYTES,
    Budget,
    BudgetExceeded,
    escaping,
)

Rule = Callable[..., int]
"""Returns the size of a result, from the budget and the arguments of the function."""


def allow_call(budget: Budget, function: object, arguments: Sequence[object], named: Mapping[str, object]) -> None:
    """Allows a call of a function or method. For methods of strings, a rule computes the size of the result."""
    method = getattr(function, "__wrapped__", function)  # the sandbox wraps `format`
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    budget.tick()
    if isinstance(owner, str | bytes):
        _spend_by(budget, _TEXT_METHODS.get(str(name), _copied), (owner, *arguments), named)
    elif rule := _FUNCTIONS.get(str(name)):
        _spend_by(budget, rule, arguments, named)


def allow_filter(budget: Budget, name: str, arguments: Sequence[object], named: Mapping[str, object]) -> None:
    """Allows a filter. The first argument is the value that it is applied to."""
    value = arguments[0] if arguments else None
    if name in ITERATING_FILTERS and isinstance(value, Sized):
        budget.check_items(len(value))
    if name in _SLOW_FILTERS and isinstance(value, str) and len(value) > MAX_SLOW_CHARACTERS:
        raise BudgetExceeded(f"rendering takes a text larger than {MAX_SLOW_CHARACTERS} characters")
    budget.tick()
    if rule := _FILTERS.get(name):
        _spend_by(budget, rule, arguments, named)
    elif name not in _READING_FILTERS and name not in ITERATING_FILTERS:
        budget.spend(MAX_ESCAPED * budget.size(value))


def _spend_by(budget: Budget, rule: Rule, arguments: Sequence[object], named: Mapping[str, object]) -> None:
    budget.spend(rule(budget, *arguments, **named) * (escaping(arguments[0]) if arguments else 1))


def _copied(budget: Budget, text: object, *values: object, **_named: object) -> int:
    """Most methods return a copy of the text, perhaps in another case, or parts of it."""
    return 4 * sum(map(budget.size, (text, *values)))


def _nothing(_: Budget, *_values: object, **_named: object) -> int:
    return 0


def _formatted_map(budget: Budget, form: str, values: Mapping[str, object]) -> int:
    return budget.formatted(form, *values.values())


def _padded(_: Budget, _text: object, width: int = 80, *_rest: object) -> int:
    return 4 * width


def _expanded(budget: Budget, text: str, tabsize: int = 8) -> int:
    return budget.size(text) + 4 * text.count("\t") * tabsize


def _replaced(budget: Budget, text: str, old: str, new: str, *_rest: object, **_named: object) -> int:
    return budget.size(text) + text.count(old) * budget.size(new)


def _split(budget: Budget, text: str, separator: str | None = None, *_rest: object, **_named: object) -> int:
    pieces = len(text) // 2 + 1 if separator is None else text.count(separator) + 1
    return budget.size(text) + pieces * (OBJECT_BYTES + REFERENCE_BYTES)


def _lines(budget: Budget, text: str, *_rest: object, **_named: object) -> int:
    return budget.size(text) + len(text.splitlines()) * (OBJECT_BYTES + REFERENCE_BYTES)


def _translated(budget: Budget, text: str, table: Iterable[object]) -> int:
    replacements = cast(Mapping[object, object], table).values() if isinstance(table, dict) else table
    return len(text) * max(map(budget.size, replacements), default=0)


def _joined(budget: Budget, separator: str, values: Iterable[object] = ()) -> int:
    items = list(values)
    return sum(map(budget.size, items)) + len(items) * budget.size(separator)


def _joined_by_filter(budget: Budget, values: Iterable[object], d: str = "", *_rest: object, **_named: object) -> int:
    items = [value if isinstance(value, str) else budget.text(value) for value in values]
    return _joined(budget, d, items)


def _replaced_by_filter(budget: Budget, text: object, old: object, new: object, *_rest: object) -> int:
    return _replaced(budget, budget.text(text), budget.text(old), budget.text(new))


def _centered(budget: Budget, text: object, width: int = 80) -> int:
    return budget.size(budget.text(text)) + 4 * width


def _trimmed(budget: Budget, text: object, *_rest: object) -> int:
    return budget.size(budget.text(text))


def _printed_by_filter(budget: Budget, form: object, /, *values: object, **named: object) -> int:
    return budget.printed(budget.text(form), named or values)


def _indented(budget: Budget, text: str, width: int | str = 4, *_rest: object, **_named: object) -> int:
    return budget.size(text) + (text.count("\n") + 1) * (4 * width if isinstance(width, int) else budget.size(width))


def _wrapped(
    budget: Budget,
    text: str,
    width: int = 79,
    _break_long_words: object = True,  # noqa: FBT002
    wrapstring: str | None = None,
    *_rest: object,
    **_named: object,
) -> int:
    lines = len(text) // max(width, 1) + text.count("\n") + 1
    return budget.size(text) + lines * budget.size(wrapstring or "\n")


def _in_batches(budget: Budget, values: Iterable[object], linecount: int, *_rest: object, **_named: object) -> int:
    """The last batch may be filled up to `linecount` items."""
    return budget.size(values) + linecount * OBJECT_BYTES


def _in_slices(budget: Budget, values: Iterable[object], slices: int, *_rest: object, **_named: object) -> int:
    """There are `slices` lists."""
    return budget.size(values) + slices * OBJECT_BYTES


def _summed(
    budget: Budget, values: Iterable[object], _attribute: object = None, start: object = 0, **_named: object
) -> int:
    """A sum of lists makes a new list for each of them."""
    if isinstance(start, int | float) and all(isinstance(value, int | float) for value in budget.items(values)):
        return 0
    return (budget.size(values) + budget.size(start)) * len(cast(Sized, values))


def _to_bytes(_: Budget, length: int = 1, *_rest: object, **_named: object) -> int:
    return length


def _rounded(budget: Budget, _value: object, precision: int = 0, *_rest: object, **_named: object) -> int:
    """The filter computes ten to the power of the precision."""
    budget.operation("**", 10, abs(precision))
    return 0


def _strftime(_: Budget, form: str) -> int:
    return 1024 * len(form)


_TEXT_METHODS: Mapping[str, Rule] = {
    "center": _padded,
    "ljust": _padded,
    "rjust": _padded,
    "zfill": _padded,
    "expandtabs": _expanded,
    "replace": _replaced,
    "split": _split,
    "rsplit": _split,
    "splitlines": _lines,
    "translate": _translated,
    **dict.fromkeys(("lstrip", "removeprefix", "removesuffix", "rstrip", "strip"), _trimmed),
    "join": _joined,
    "format": Budget.formatted,
    **dict.fromkeys(("count", "endswith", "find", "index", "isdigit", "isspace", "rfind", "startswith"), _nothing),
    "format_map": _formatted_map,
}
_FUNCTIONS: Mapping[str, Rule] = {"strftime_now": _strftime, "to_bytes": _to_bytes}
_FILTERS: Mapping[str, Rule] = {
    "center": _centered,
    "replace": _replaced_by_filter,
    "join": _joined_by_filter,
    "format": _printed_by_filter,
    "string": _trimmed,
    "trim": _trimmed,
    "indent": _indented,
    "wordwrap": _wrapped,
    "batch": _in_batches,
    "slice": _in_slices,
    "sum": _summed,
    "round": _rounded,
}
_READING_FILTERS = frozenset({"attr", "count", "d", "default", "first", "last", "length", "safe"})
"""Filters that return a part of their value, or its length."""
ITERATING_FILTERS = frozenset(
    {
        *("batch", "dictsort", "groupby", "join", "list", "map", "max", "min", "reject", "rejectattr", "reverse"),
        *("select", "selectattr", "slice", "sort", "sum", "unique"),
    }
)
"""Filters that go through the items of their value."""
_SLOW_FILTERS = frozenset({"indent", "striptags", "title", "truncate", "urlencode", "wordcount", "wordwrap"})
"""Filters that work on a text in Python."""
