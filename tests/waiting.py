"""Waiting in tests: for events, with a limit that only a failure reaches."""

import asyncio
from collections.abc import Callable

WAIT_S = 60
"""Longest time that a test waits for something that must happen; far more than a busy machine needs."""


class Condition:
    """Lets coroutines wait until a predicate holds; `notify` says that it may have changed."""

    def __init__(self) -> None:
        """Belongs to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Makes the waiting coroutines check their predicates. Callable from any thread."""
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Returns once the predicate holds.

        Raises:
            TimeoutError: It did not hold within `WAIT_S`.
        """
        async with asyncio.timeout(WAIT_S):
            while not predicate():  # a change after this notifies after the next line, as both run in the loop
                self._changed.clear()
                await self._changed.wait()
