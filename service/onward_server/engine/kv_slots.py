"""Which sequence owns which KV slot; it does not know what a slot holds."""

import heapq


class KvSlots:
    """A fixed set of slots, handed out lowest first."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self._free = list(range(num_slots))
        self._used: set[int] = set()

    @property
    def num_free(self) -> int:
        """Slots that nobody owns."""
        return len(self._free)

    def take(self) -> int:
        """The lowest free slot."""
        slot = heapq.heappop(self._free)
        self._used.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Frees a slot that was taken."""
        self._used.remove(slot)
        heapq.heappush(self._free, slot)

    def check_integrity(self) -> None:
        """Every slot is free or used, never both.

        Raises:
            AssertionError: a slot was lost or given back twice.
        """
        if sorted([*self._free, *self._used]) != list(range(self.num_slots)):
            raise AssertionError(f"slots free {sorted(self._free)}, used {sorted(self._used)}, of {self.num_slots}")
