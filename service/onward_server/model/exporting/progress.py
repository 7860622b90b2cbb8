"""Reports the progress of exports."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from onward_server.model.source.pull_progress import Advance, size

_LINE_EVERY_S = 10.0


class ExportProgress(Protocol):
    """Shows the user what an export does."""

    def note(self, text: str) -> None:
        """Shows one sentence."""
        ...

    def weights(self, num_bytes: int) -> AbstractContextManager[Advance]:
        """Shows how many of `num_bytes` of weights are written while the block runs."""
        ...


class ExportLines:
    """Prints a line when all weights are written, and every ten seconds until then."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Writes lines with `say`."""
        self._say = say
        self._clock = clock

    def note(self, text: str) -> None:
        """Writes the sentence."""
        self._say(text)

    @contextmanager
    def weights(self, num_bytes: int) -> Generator[Advance]:
        """Counts the bytes."""
        started_s = said_s = self._clock()
        num_written = 0

        def advance(more: int) -> None:
            nonlocal num_written, said_s
            num_written += more
            now_s = self._clock()
            if now_s - said_s >= _LINE_EVERY_S:
                said_s = now_s
                self._say(f"weights: {size(num_written)} of {size(num_bytes)}")

        yield advance
        self._say(f"weights: {size(num_written)} in {self._clock() - started_s:.1f} s")
