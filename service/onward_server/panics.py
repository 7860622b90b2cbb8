"""Panics of libraries that are written in Rust.

PyO3 raises a panic as `pyo3_runtime.PanicException`. Each library has its own class of this name, which cannot be
imported and is derived from BaseException, so `except Exception` does not catch it.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager


def is_panic(error: BaseException) -> bool:
    """Whether an exception is a panic: neither an Exception nor one of those that end a generator or the process.

    In a coroutine, this is also true of a cancellation, so only plain functions may ask.
    """
    return not isinstance(error, (Exception, GeneratorExit, KeyboardInterrupt, SystemExit))


@contextmanager
def panics_raise(make_error: Callable[[], Exception]) -> Generator[None]:
    """Replaces a panic in the block with an error.

    The text of the panic, which Rust has written to stderr, is dropped: it may quote the text of a caller.
    """
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise make_error() from None
        raise
