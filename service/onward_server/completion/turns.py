"""Bounds heavy work in threads, even where those who asked for it have left; it does not know the work."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """At most `limit` pieces of work at a time; the others wait for their turn."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, work: Callable[[], T]) -> T:
        """Works in a thread. A caller that is cancelled leaves at once; its turn lasts until the thread is done."""
        await self._free.acquire()
        working = asyncio.ensure_future(asyncio.to_thread(work))
        working.add_done_callback(self._end)
        return await asyncio.shield(working)

    def _end(self, working: "asyncio.Future[T]") -> None:
        self._free.release()
        if not working.cancelled():
            working.exception()  # nobody may be left to be told of it
