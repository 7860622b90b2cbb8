"""Reports the steps of loading: each with its duration when it is done, and while it takes long."""

import asyncio
import logging
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from onward_server.telemetry import console

logger = logging.getLogger(__name__)

_REPORT_EVERY_S = 10.0


class LoadingSteps:
    """The step that runs in the loading thread. Reports about it go to the terminal, if there is one, or to the log."""

    def __init__(self) -> None:
        """Starts without a step."""
        self._what = ""
        self._started_s = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Generator[None]:
        """Runs the block as a step, and reports its duration.

        Args:
            what: What the block does, such as `pocket: reading FOLDER`.
        """
        self._what, self._started_s = what, time.monotonic()
        yield
        self._report(f"{what}: {time.monotonic() - self._started_s:.1f} s")

    async def report_while_slow(self, every_s: float = _REPORT_EVERY_S) -> None:
        """Reports in intervals which step is running. Never returns."""
        while True:
            await asyncio.sleep(every_s)
            self._report(f"{self._what}: not done after {time.monotonic() - self._started_s:.0f} s")

    @staticmethod
    def _report(line: str) -> None:
        (console if sys.stderr.isatty() else logger).info("%s", line)
