"""Who runs this step: admission in order of arrival, and which prompt is prefilled next; it runs nothing itself.

A request's slots are reserved together and for its whole length, so a sequence that was admitted always finishes: no
preemption, no running out of memory. Prompts with the least left go first, and one that was passed over
`_MAX_PASSED_OVER` times goes before them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from onward_server.engine.kv_slots import KvSlots
from onward_server.engine.sequence import Sequence, SequenceGroup

MIN_CHUNK = 2
"""A continuation of one token would take the decode kernel, and other bits."""
_MAX_PASSED_OVER = 8
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """Prompt tokens [start, end) of a group, for its first sequence's slot."""

    group: SequenceGroup
    start: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether the prompt is complete after it."""
        return self.end == len(self.group.request.prompt_ids)


class Scheduler:
    """Holds every group from arrival to its end."""

    def __init__(self, num_slots: int) -> None:
        self.slots = KvSlots(num_slots)
        self._waiting: deque[SequenceGroup] = deque()
        self._running: dict[str, SequenceGroup] = {}

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._running)

    def add(self, group: SequenceGroup) -> None:
        """Queues a group."""
        self._waiting.append(group)

    def admit(self) -> None:
        """Gives slots to waiting groups in order of arrival, as long as the first one fits."""
        while self._waiting and len(self._waiting[0].sequences) <= self.slots.num_free:
            group = self._waiting.popleft()
            for sequence in group.sequences:
                sequence.start(self.slots.take())
            self._running[group.request.id] = group

    def decoding(self) -> list[Sequence]:
        """Sequences that draw a token this step."""
        return [
            sequence
            for group in self._running.values()
            if not group.num_prompt_left
            for sequence in group.sequences
            if sequence.slot is not None
        ]

    def next_chunk(self, budget: int) -> PrefillChunk | None:
        """The chunk to prefill next, of at most `budget` tokens but never less than can be; None: no prompt is left."""
        groups = [group for group in self._running.values() if group.num_prompt_left]
        if not groups:
            return None
        chosen = min(groups, key=lambda group: (group.num_passed_over < _MAX_PASSED_OVER, group.num_prompt_left))
        for group in groups:
            group.num_passed_over += 1
        chosen.num_passed_over = 0
        start = chosen.num_prefilled
        return PrefillChunk(chosen, start, start + _chunk_size(chosen.num_prompt_left, budget))

    def find(self, request_id: str) -> SequenceGroup | None:
        """The group of a request, waiting or running; None: it has ended."""
        return self._running.get(request_id) or next(self._waiting_with(request_id), None)

    def finish(self, sequence: Sequence) -> int:
        """Takes back the slot of a sequence and forgets its group with the last one; returns the slot."""
        slot = sequence.slot
        if slot is None:
            raise AssertionError(f"choice {sequence.index} of {sequence.request.id} finished twice")
        sequence.slot = None
        self.slots.give_back(slot)
        if not self._running[sequence.request.id].active:
            del self._running[sequence.request.id]
        return slot

    def forget_waiting(self, group: SequenceGroup) -> None:
        """Drops a group that has no slots yet."""
        self._waiting.remove(group)

    def _waiting_with(self, request_id: str) -> Iterator[SequenceGroup]:
        return (group for group in self._waiting if group.request.id == request_id)


def _chunk_size(left: int, budget: int) -> int:
    """At most `budget` where that is possible, aligned, and never leaving a single token behind."""
    if left <= max(budget, MIN_CHUNK):
        return left
    size = max(budget, MIN_CHUNK)
    if size > _ALIGNMENT:
        size -= size % _ALIGNMENT
    if left - size == 1:
        size = size - 1 if size > MIN_CHUNK else left
    return size
