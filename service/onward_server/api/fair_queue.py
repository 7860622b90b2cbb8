"""A queue that takes items from each source in turn."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

_ItemT = TypeVar("_ItemT")


class FairQueue(Generic[_ItemT]):
    """Items of several sources, taken from one source after another, so a source with many items holds up no other."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[_ItemT]] = OrderedDict()
        """The items of each source that has any; the next source comes first."""
        self._has_items = asyncio.Event()

    def put(self, source: str, item: _ItemT) -> None:
        """Adds an item behind those of the same source."""
        self._waiting.setdefault(source, deque()).append(item)
        self._has_items.set()

    async def get(self) -> _ItemT:
        """Removes and returns the next item; waits for one if there is none."""
        while not self._waiting:
            self._has_items.clear()
            await self._has_items.wait()
        source, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[source] = items
        return item
