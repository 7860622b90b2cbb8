"""Bounds the time and the memory of one rendering, whatever its template does.

Before an operation of a template makes a value, an upper bound of its size is computed from the operands and checked
here. So no single operation takes long, and the values of a rendering together stay below a limit.

- A value has at most 64 MiB, counted as a tree: a list that holds another one twice counts it twice. Hence all that
  Python does with a value in one step, such as to compare, sort or print it, is bounded, too.
- All values that a template makes together have at most 256 MiB plus 64 times the size of the variables.
- Time is checked whenever a loop, a call, a filter or an operator runs.
"""

import re
import time
from collections.abc import (
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
"""Maximum total size of the values of a template: the first, plus the second times the size of the variables."""
_MAX_ITEMS = 2**20
"""Maximum number of items in a list that a template makes, or in what a filter iterates over in Python."""
MAX_SLOW_CHARACTERS = 2**20
"""Maximum length of the text of a filter that is implemented in Python."""
_MAX_BITS = 2**12
"""Largest size of an integer that a template makes, in bits."""
OBJECT_BYTES, REFERENCE_BYTES = 56, 8
MAX_ESCAPED = 8
"""How many times larger a text may become when it is printed, escaped, quoted or changed to upper case."""
_NUMBER = re.compile(r"\d+")
_MAX_DIGITS = 12
"""Digits to read of a width in a format; a longer number exceeds every limit."""
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
            return OBJECT_BYTES + len(value) * (1 if value.isascii() else 4)
        if isinstance(value, dict):
            items = cast(dict[object, object], value)
            return self._size_of(items, items.values())
        if isinstance(value, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
            return self._size_of(cast(Iterable[object], value), ())
        if isinstance(value, bytes):
            return OBJECT_BYTES + len(value)
        if type(value).__name__ == "Namespace":  # it can change, so its size is unknown
            raise BudgetExceeded("rendering prints a namespace, or puts it into another value")
        return OBJECT_BYTES + (value.bit_length() // 8 if isinstance(value, int) else 0)

    def _size_of(self, container: Iterable[object], more: Iterable[object]) -> int:
        if (known := self._sizes.get(id(container))) is not None:
            return known[1]
        size, measure = OBJECT_BYTES, self.size
        for part in (container, more):
            for item in part:
                size += REFERENCE_BYTES + measure(item)
        self._sizes[id(container)] = (container, size)  # holds the value, so that no other one gets its id
        return size

    def made(self, value: T) -> T:
        """Returns a value that the template has made of others, unless it is too large as a tree."""
        made: object = value
        if isinstance(made, str | bytes):
            self.spend(self.size(made))
        elif isinstance(made, Sized):
            self.check_items(len(made))
            self._check_size(self.size(made))
            self.spend(OBJECT_BYTES + REFERENCE_BYTES * len(made))
        return value

    def text(self, value: object) -> str:
        """Returns a value as the text that the template writes."""
        if isinstance(value, str):
            return value
        self.spend(MAX_ESCAPED * self.size(value))
        return str(value)

    def joined(self, values: Iterable[object]) -> str:
        """Returns the texts of values, joined."""
        texts = [self.text(value) for value in values]
        self.spend(OBJECT_BYTES + sum(map(self.size, texts)))
        return "".join(texts)

    def sliced(self, value: Any, start: object, stop: object, step: object) -> Any:  # noqa: ANN401  as the value
        """Returns a slice of a value."""
        whole: object = value
        if isinstance(whole, str | bytes):
            self.spend(self.size(whole))
        elif isinstance(whole, Sized):
            self.spend(OBJECT_BYTES + REFERENCE_BYTES * len(whole))
        return self.made(value[start:stop:step])

    def operation(self, operator: str, left: object, right: object) -> None:
        """Allows an operation with two operands."""
        self.tick()
        match operator, left, right:
            case "%", str() | bytes(), _:
                self.spend(escaping(left) * self.printed(left, right))
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
                self.spend(escaping(left) * (self.size(left) + self.size(right)))
            case "+", Sized(), Sized():
                self._check_size(self.size(left) + self.size(right))
                self.check_items(len(left) + len(right))
                self.spend(REFERENCE_BYTES * (len(left) + len(right)))
            case _:
                pass

    def items(self, values: Iterable[T]) -> Iterator[T]:
        """Yields the items of an iterable, while time is left and there are not too many."""
        for count, value in enumerate(values):
            self.check_items(count)
            yield self.tick(value)

    def _repeat(self, value: Sized, count: int) -> None:
        if isinstance(value, str | bytes):
            self.spend(OBJECT_BYTES + (self.size(value) - OBJECT_BYTES) * max(count, 0))
        else:
            self._check_size(self.size(value) * max(count, 0))
            self.check_items(len(value) * count)
            self.spend(REFERENCE_BYTES * len(value) * max(count, 0))

    def _check_size(self, size: int) -> None:
        if size > _MAX_BYTES:
            raise BudgetExceeded(f"rendering makes a value larger than {_MAX_BYTES} bytes")

    def check_items(self, count: int) -> None:
        """Allows this many items."""
        if count > _MAX_ITEMS:
            raise BudgetExceeded(f"rendering makes a value larger than {_MAX_ITEMS} items")

    def _check_bits(self, num_bits: int) -> None:
        if num_bits > _MAX_BITS:
            raise BudgetExceeded(f"rendering makes an integer larger than {_MAX_BITS} bits")

    def printed(self, form: str | bytes, values: object) -> int:
        """The size of `form % values`: each conversion may print all values, to any width that is written or given."""
        text, values_size = form if isinstance(form, str) else form.decode("latin-1"), self.size(values)
        width = _sum_of_numbers(text)
        if "*" in text and isinstance(values, tuple):
            width += sum(abs(value) for value in cast(Sequence[object], values) if isinstance(value, int))
        return self.size(form) + 4 * width + text.count("%") * MAX_ESCAPED * values_size

    def formatted(self, form: str | bytes, /, *values: object, **named: object) -> int:
        """The size of `form.format(*values, **named)`."""
        text = str(form)
        width = _sum_of_numbers(text)
        given = [*values, *named.values()]
        if _NESTED_FIELD.search(text):
            width += sum(abs(value) for value in given if isinstance(value, int))
            width += sum(_sum_of_numbers(value) for value in given if isinstance(value, str))
        return self.size(text) + 4 * width + text.count("{") * MAX_ESCAPED * sum(map(self.size, given))


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


def escaping(text: object) -> int:
    """How many times larger the other operands may become: a text that is marked as safe escapes them."""
    return MAX_ESCAPED if isinstance(text, str) and type(text) is not str else 1


def _sum_of_numbers(text: str) -> int:
    """An upper bound of all widths that are written in a format."""
    if len(text) > MAX_SLOW_CHARACTERS:
        return _MAX_BYTES
    return sum(int(number[:_MAX_DIGITS]) for number in _NUMBER.findall(text))
