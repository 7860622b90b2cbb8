"""Standard streams that are closed, or that cannot be written."""

import io
import os
import sys
from typing import cast


def open_standard_streams() -> None:
    """Opens /dev/null in place of closed streams. Otherwise the log could go to a file that gets descriptor 2."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  None if it was closed
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def drop_unwritable_stderr() -> None:
    """Drops text that stderr did not accept, as on a full disk. Python would exit with 120 because of it."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def drop_unwritable_stdout() -> None:
    """Drops text for a reader that is gone. Python would print a second error at exit because of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_unencodable_output() -> None:
    """Lets stdout escape characters that its encoding lacks, in place of an exception in the middle of the output."""
    if isinstance(cast(object, sys.stdout), io.TextIOWrapper):
        cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="backslashreplace")
