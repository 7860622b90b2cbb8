"""Which KV slots are free and which are in use."""

import heapq


class KvSlots:
    """A fixed number of slots; the lowest free one is taken first."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self._free = list(range(num_slots))
        self._used: set[int] = set()

    @property
    def num_free(self) -> int:
        """Slots that are free."""
        return len(self._free)

    def take(self) -> int:
        """Takes the lowest free slot.

        Raises:
            IndexError: No slot is free.
        """
        slot = heapq.heappop(self._free)
        self._used.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Frees a slot.

        Raises:
            KeyError: The slot is not in use.
        """
        self._used.remove(slot)
        heapq.heappush(self._free, slot)

    def check_integrity(self) -> None:
        """Checks that every slot is either free or in use.

        Raises:
            AssertionError: A slot was lost or freed twice.
        """
        if sorted([*self._free, *self._used]) != list(range(self.num_slots)):
            raise AssertionError(f"slots free {sorted(self._free)}, used {sorted(self._used)}, of {self.num_slots}")
