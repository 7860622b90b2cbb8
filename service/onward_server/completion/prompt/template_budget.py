"""Bounds the time and the memory of one rendering, whatever its template does.

Every operation of a template that can make a value asks here first: how large the value may become is computed from
the operands. So no single operation takes long, and the values of a rendering together stay below a limit.

- A value has at most 64 MiB, counted as a tree: a list that holds another one twice counts it twice. Hence all that
  Python does with a value in one step, such as to compare, sort or print it, is bounded, too.
- All values that a template makes have at most 256 MiB, and 64 times the size of the variables, together.
- Time is checked whenever a loop, a call, a filter or an operator runs.
"""

import re
import time
from collections.abc import (
    Callable,
    Generator,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Sized,
    ValuesView,
)
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

T = TypeVar("T")

_MAX_BYTES = 2**26
"""Largest size of a value."""
_TOTAL_BYTES, _TOTAL_PER_BYTE = 2**28, 64
"""Largest size of all values that a template makes: this, and this many times the size of the variables."""
_MAX_ITEMS = 2**20
"""Most items of a list that a template makes, and of what a filter iterates over in Python."""
_MAX_SLOW_CHARACTERS = 2**20
"""Longest text of filters that work on it in Python."""
_MAX_BITS = 2**12
"""Largest size of an integer that a template makes, in bits."""
_OBJECT_BYTES, _REFERENCE_BYTES = 56, 8
_MAX_ESCAPED = 8
"""How many times larger a text may become when it is printed, escaped, quoted or changed to upper case."""
_NUMBER = re.compile(r"\d+")
_NESTED_FIELD = re.compile(r":[^{}]*\{")


class BudgetExceeded(RuntimeError):
    """A template makes a value that is too large, or takes too long."""


class Budget:
    """What is left for one rendering; used by one thread."""

    def __init__(self, budget_s: float, variables: Mapping[str, object] | None = None) -> None:
        """Starts the time, and measures the variables."""
        self._budget_s = budget_s
        self._deadline_s = time.perf_counter() + budget_s
        self._sizes: dict[int, tuple[object, int]] = {}
        self._left = _TOTAL_BYTES + _TOTAL_PER_BYTE * sum(map(self.size, (variables or {}).values()))

    def tick(self, value: T = None) -> T:
        """Returns the value, unless the time is up."""
        if time.perf_counter() > self._deadline_s:
            raise BudgetExceeded(f"rendering took longer than {self._budget_s:g} s")
        return value

    def spend(self, size: int) -> None:
        """Allows a value of this many bytes to be made."""
        self.tick()
        self._check_size(size)
        self._left -= size
        if self._left < 0:
            raise BudgetExceeded("rendering makes values that are larger than allowed together")

    def size(self, value: object) -> int:
        """The size of a value as a tree, in bytes. Each container is measured once; the template cannot change it."""
        if isinstance(value, str):
            return _OBJECT_BYTES + len(value) * (1 if value.isascii() else 4)
        if isinstance(value, dict):
            items = cast(dict[object, object], value)
            return self._size_of(items, items.values())
        if isinstance(value, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
            return self._size_of(cast(Iterable[object], value), ())
        if isinstance(value, bytes):
            return _OBJECT_BYTES + len(value)
        if type(value).__name__ == "Namespace":  # it can change, so its size is unknown
            raise BudgetExceeded("rendering prints a namespace, or puts it into another value")
        return _OBJECT_BYTES + (value.bit_length() // 8 if isinstance(value, int) else 0)

    def _size_of(self, container: Iterable[object], more: Iterable[object]) -> int:
        if (known := self._sizes.get(id(container))) is not None:
            return known[1]
        size, measure = _OBJECT_BYTES, self.size
        for part in (container, more):
            for item in part:
                size += _REFERENCE_BYTES + measure(item)
        self._sizes[id(container)] = (container, size)  # holds the value, so that no other one gets its id
        return size

    def made(self, value: T) -> T:
        """Returns a value that the template has made of others, unless it is too large as a tree."""
        made: object = value
        if not isinstance(made, str | bytes) and isinstance(made, Sized):
            self._check_items(len(made))
            self._check_size(self.size(made))
            self.spend(_OBJECT_BYTES + _REFERENCE_BYTES * len(made))
        return value

    def text(self, value: object) -> str:
        """Returns a value as the text that the template writes."""
        if isinstance(value, str):
            return value
        self.spend(_MAX_ESCAPED * self.size(value))
        return str(value)

    def joined(self, values: Iterable[object]) -> str:
        """Returns the texts of values, joined."""
        texts = [self.text(value) for value in values]
        self.spend(_OBJECT_BYTES + sum(map(self.size, texts)))
        return "".join(texts)

    def sliced(self, value: Any, start: object, stop: object, step: object) -> Any:  # noqa: ANN401  as the value
        """Returns a slice of a value."""
        whole: object = value
        if isinstance(whole, str | bytes):
            self.spend(self.size(whole))
        elif isinstance(whole, Sized):
            self.spend(_OBJECT_BYTES + _REFERENCE_BYTES * len(whole))
        return self.made(value[start:stop:step])

    def operation(self, operator: str, left: object, right: object) -> None:
        """Allows an operation with two operands."""
        self.tick()
        match operator, left, right:
            case "%", str() | bytes(), _:
                self.spend(_escaping(left) * self.printed(left, right))
            case "*", Sized(), int():
                self._repeat(left, right)
            case "*", int(), Sized():
                self._repeat(right, left)
            case "*", int(), int():
                self._check_bits(left.bit_length() + right.bit_length())
            case "**", int(), int():
                self._check_bits(left.bit_length() * right)
            case "+", int(), int():
                self._check_bits(max(left.bit_length(), right.bit_length()))
            case "+", (str() | bytes()), _:
                self.spend(_escaping(left) * (self.size(left) + self.size(right)))
            case "+", Sized(), Sized():
                self._check_size(self.size(left) + self.size(right))
                self._check_items(len(left) + len(right))
                self.spend(_REFERENCE_BYTES * (len(left) + len(right)))
            case _:
                pass

    def call(self, function: object, arguments: Sequence[object], named: Mapping[str, object]) -> None:
        """Allows a call of a function or method. Methods of strings are asked for the size of their result."""
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps `format`
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        self.tick()
        if isinstance(owner, str | bytes):
            self._spend_by(_TEXT_METHODS.get(str(name), _copied), (owner, *arguments), named)
        elif rule := _FUNCTIONS.get(str(name)):
            self._spend_by(rule, arguments, named)

    def filter(self, name: str, arguments: Sequence[object], named: Mapping[str, object]) -> None:
        """Allows a filter. The first argument is the value that it is applied to."""
        value = arguments[0] if arguments else None
        if name in ITERATING_FILTERS and isinstance(value, Sized):
            self._check_items(len(value))
        if name in _SLOW_FILTERS and isinstance(value, str) and len(value) > _MAX_SLOW_CHARACTERS:
            raise BudgetExceeded(f"rendering takes a text larger than {_MAX_SLOW_CHARACTERS} characters")
        self.tick()
        if rule := _FILTERS.get(name):
            self._spend_by(rule, arguments, named)
        elif name not in _READING_FILTERS and name not in ITERATING_FILTERS:
            self.spend(_MAX_ESCAPED * self.size(value))

    def items(self, values: Iterable[T]) -> Iterator[T]:
        """Yields the items of an iterable, while time is left and there are not too many."""
        for count, value in enumerate(values):
            self._check_items(count)
            yield self.tick(value)

    def _spend_by(self, rule: "Rule", arguments: Sequence[object], named: Mapping[str, object]) -> None:
        try:
            size = rule(self, *arguments, **named)
        except (TypeError, ValueError, AttributeError):  # the function will say what is wrong with its arguments
            size = 0
        self.spend(size * (_escaping(arguments[0]) if arguments else 1))

    def _repeat(self, value: Sized, count: int) -> None:
        if isinstance(value, str | bytes):
            self.spend(_OBJECT_BYTES + (self.size(value) - _OBJECT_BYTES) * max(count, 0))
        else:
            self._check_size(self.size(value) * max(count, 0))
            self._check_items(len(value) * count)
            self.spend(_REFERENCE_BYTES * len(value) * max(count, 0))

    def _check_size(self, size: int) -> None:
        if size > _MAX_BYTES:
            raise BudgetExceeded(f"rendering makes a value larger than {_MAX_BYTES} bytes")

    def _check_items(self, count: int) -> None:
        if count > _MAX_ITEMS:
            raise BudgetExceeded(f"rendering makes a value larger than {_MAX_ITEMS} items")

    def _check_bits(self, num_bits: int) -> None:
        if num_bits > _MAX_BITS:
            raise BudgetExceeded(f"rendering makes an integer larger than {_MAX_BITS} bits")

    def printed(self, form: str | bytes, values: object) -> int:
        """The size of `form % values`: each conversion may print all values, to any width that is written or given."""
        text, values_size = form if isinstance(form, str) else form.decode("latin-1"), self.size(values)
        width = sum(map(int, _NUMBER.findall(text))) if len(text) <= _MAX_SLOW_CHARACTERS else _MAX_BYTES
        if "*" in text and isinstance(values, tuple):
            width += sum(abs(value) for value in cast(Sequence[object], values) if isinstance(value, int))
        return self.size(form) + 4 * width + text.count("%") * _MAX_ESCAPED * values_size

    def formatted(self, form: str | bytes, *values: object, **named: object) -> int:
        """The size of `form.format(*values, **named)`."""
        text = str(form)
        width = sum(map(int, _NUMBER.findall(text))) if len(text) <= _MAX_SLOW_CHARACTERS else _MAX_BYTES
        given = [*values, *named.values()]
        if _NESTED_FIELD.search(text):
            width += sum(abs(value) for value in given if isinstance(value, int))
            width += sum(
                abs(int(number)) for value in given if isinstance(value, str) for number in _NUMBER.findall(value)
            )
        return self.size(text) + 4 * width + text.count("{") * _MAX_ESCAPED * sum(map(self.size, given))


Rule = Callable[..., int]
"""Returns the size of a result, from the budget and the arguments of the function."""

_CURRENT: ContextVar[Budget] = ContextVar("template_budget")


def current() -> Budget:
    """The budget of the rendering that runs in this thread."""
    return _CURRENT.get()


@contextmanager
def spending(budget: Budget) -> Generator[Budget]:
    """Makes a budget the current one."""
    token = _CURRENT.set(budget)
    try:
        yield budget
    finally:
        _CURRENT.reset(token)


def _escaping(text: object) -> int:
    """How much an operation on a text may add to the others: a text that is marked as safe escapes them."""
    return _MAX_ESCAPED if isinstance(text, str) and type(text) is not str else 1


def _copied(budget: Budget, text: object, *values: object, **_named: object) -> int:
    """Most methods return a copy, in other case perhaps, or parts of it."""
    return 4 * sum(map(budget.size, (text, *values)))


def _nothing(_: Budget, *_values: object, **_named: object) -> int:
    return 0


def _formatted_map(budget: Budget, form: str, values: Mapping[str, object]) -> int:
    return budget.formatted(form, **values)


def _padded(_: Budget, _text: object, width: int = 80, *_rest: object) -> int:
    return 4 * width


def _expanded(budget: Budget, text: str, tabsize: int = 8) -> int:
    return budget.size(text) + 4 * text.count("\t") * tabsize


def _replaced(budget: Budget, text: str, old: str, new: str, *_rest: object, **_named: object) -> int:
    return budget.size(text) + text.count(old) * budget.size(new)


def _split(budget: Budget, text: str, separator: str | None = None, *_rest: object, **_named: object) -> int:
    pieces = len(text) // 2 + 1 if separator is None else text.count(separator) + 1
    return budget.size(text) + pieces * (_OBJECT_BYTES + _REFERENCE_BYTES)


def _lines(budget: Budget, text: str, *_rest: object, **_named: object) -> int:
    return budget.size(text) + len(text.splitlines()) * (_OBJECT_BYTES + _REFERENCE_BYTES)


def _translated(budget: Budget, text: str, table: Mapping[object, object]) -> int:
    return len(text) * max(map(budget.size, table.values()), default=0)


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


def _printed_by_filter(budget: Budget, form: object, *values: object, **named: object) -> int:
    return budget.printed(budget.text(form), named or values)


def _indented(budget: Budget, text: str, width: int | str = 4, *_rest: object, **_named: object) -> int:
    return budget.size(text) + (text.count("\n") + 1) * (4 * width if isinstance(width, int) else budget.size(width))


def _wrapped(
    budget: Budget, text: str, width: int = 79, *_rest: object, wrapstring: str = "\n", **_named: object
) -> int:
    return budget.size(text) + (len(text) // max(width, 1) + text.count("\n") + 1) * budget.size(wrapstring)


def _in_batches(budget: Budget, values: Iterable[object], count: int, *_rest: object, **_named: object) -> int:
    """Batches may be filled up to `count` items; slices are `count` lists."""
    return budget.size(values) + count * _OBJECT_BYTES


def _summed(budget: Budget, values: Iterable[object], *_rest: object, **_named: object) -> int:
    """A sum of lists makes a new list for each of them."""
    if all(isinstance(value, int | float) for value in budget.items(values)):
        return 0
    return budget.size(values) * len(cast(Sized, values))


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
    "join": _joined,
    "format": Budget.formatted,
    **dict.fromkeys(("count", "endswith", "find", "index", "isdigit", "isspace", "rfind", "startswith"), _nothing),
    "format_map": _formatted_map,
}
_FUNCTIONS: Mapping[str, Rule] = {"strftime_now": _strftime}
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
    "slice": _in_batches,
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
