"""Panics of libraries that are written in Rust.

PyO3 raises a panic as `pyo3_runtime.PanicException`, a class that each library has for itself and that cannot be
imported. It is derived from BaseException, so code that expects an Exception lets it through.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager


def is_panic(error: BaseException) -> bool:
    """Whether an exception is a panic: neither an Exception nor one of those that end a task or the process."""
    return not isinstance(error, (Exception, GeneratorExit, KeyboardInterrupt, SystemExit))


@contextmanager
def panics_raise(make_error: Callable[[], Exception]) -> Generator[None]:
    """Raises an error in the place of a panic of the block.

    The text of the panic, which Rust has written to stderr, is dropped: it may quote the text of a caller.
    """
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise make_error() from None
        raise
