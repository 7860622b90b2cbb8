"""Reports the progress of downloads."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from onward_server.model.source.remote_file import RemoteFile

_LINE_EVERY_S = 10.0

Advance = Callable[[int], None]
"""Adds the number of bytes that arrived; a negative number means that they will be downloaded again."""


class PullProgress(Protocol):
    """Shows the user what a download does."""

    def note(self, text: str) -> None:
        """Shows one sentence."""
        ...

    def transfer(self, file: RemoteFile, start: int) -> AbstractContextManager[Advance]:
        """Shows the transfer of a file while the block runs; `start` bytes were downloaded before."""
        ...


class ProgressLines:
    """Prints a line when a file is complete, and every ten seconds until then."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Writes lines with `say`."""
        self._say = say
        self._clock = clock

    def note(self, text: str) -> None:
        """Writes the sentence."""
        self._say(text)

    @contextmanager
    def transfer(self, file: RemoteFile, start: int) -> Generator[Advance]:
        """Counts the bytes."""
        started_s = said_s = self._clock()
        num_bytes = start

        def advance(more: int) -> None:
            nonlocal num_bytes, said_s
            num_bytes += more
            now_s = self._clock()
            if now_s - said_s >= _LINE_EVERY_S:
                said_s = now_s
                rate = max(num_bytes - start, 0) / (now_s - started_s)
                self._say(f"{file.path}: {size(num_bytes)} of {size(file.num_bytes)}, {size(int(rate))} per second")

        yield advance
        resumed = f", {size(start)} of it were downloaded before" if start else ""
        self._say(f"{file.path}: {size(file.num_bytes)} in {self._clock() - started_s:.1f} s{resumed}")


def size(num_bytes: int) -> str:
    """A number of bytes in the unit that fits."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes} bytes"
