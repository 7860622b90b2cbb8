"""Decides which sequences run in a step: admission in order of arrival, and the next prompt to prefill.

A request gets the slots of all its choices at once, and a slot has room for the whole context. So an admitted
sequence always finishes: there is no preemption, and serving cannot run out of memory. The prefill with the fewest
tokens left runs first, but one that was passed over `_MAX_PASSED_OVER` times goes before it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from onward_server.engine.kv_slots import KvSlots
from onward_server.engine.sequence import Prefill, Sequence, SequenceGroup

MIN_CHUNK = 2
"""A later chunk of one token would run the decode kernel, which gives different bits."""
_MAX_PASSED_OVER = 8
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """Tokens [start, end) of a prefill, to be run in the slot of its first sequence."""

    prefill: Prefill
    start: int
    end: int

    @property
    def is_last(self) -> bool:
        """Whether it ends the prefill."""
        return self.end == len(self.prefill.token_ids)


class Scheduler:
    """Holds every group from arrival until its last sequence finishes."""

    def __init__(self, num_slots: int, *, fixed_chunk: int | None = None) -> None:
        """Takes the number of slots, and `CausalLM.fixed_chunk`."""
        self.slots = KvSlots(num_slots)
        self._fixed_chunk = fixed_chunk
        self._waiting: deque[SequenceGroup] = deque()
        self._running: dict[str, SequenceGroup] = {}

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._running)

    def add(self, group: SequenceGroup) -> None:
        """Queues a group."""
        self._waiting.append(group)

    def admit(self) -> list[SequenceGroup]:
        """Gives slots to waiting groups in order of arrival, until one does not fit; returns those that got slots."""
        admitted: list[SequenceGroup] = []
        while self._waiting and len(self._waiting[0].sequences) <= self.slots.num_free:
            group = self._waiting.popleft()
            prompt = Prefill(sequences=group.sequences, token_ids=group.request.prompt_ids)
            for sequence in group.sequences:
                sequence.start(self.slots.take(), prompt)
            self._running[group.request.id] = group
            admitted.append(group)
        return admitted

    def decoding(self) -> list[Sequence]:
        """Sequences that sample a token in this step."""
        return [sequence for group in self._running.values() for sequence in group.active if sequence.prefill is None]

    def next_chunk(self, budget: int) -> PrefillChunk | None:
        """The chunk to prefill next, of about `budget` tokens (see `_chunk_size`); None: no tokens are left.

        With a fixed chunk its size depends on the tokens of the prefill alone, whatever the budget.
        """
        prefills = self._prefills()
        if not prefills:
            return None
        chosen = min(prefills, key=lambda prefill: (prefill.num_passed_over < _MAX_PASSED_OVER, prefill.num_left))
        for prefill in prefills:
            prefill.num_passed_over += 1
        chosen.num_passed_over = 0
        start = chosen.num_done
        size = _chunk_size(chosen.num_left, self._fixed_chunk or budget)
        return PrefillChunk(chosen, start, start + size)

    def find(self, request_id: str) -> SequenceGroup | None:
        """The group of a waiting or running request; None: it has finished."""
        return self._running.get(request_id) or next(self._waiting_with(request_id), None)

    def finish(self, sequence: Sequence) -> int:
        """Frees the slot of a sequence and returns it. Removes the group if this was its last sequence."""
        slot = sequence.held_slot
        sequence.slot = sequence.prefill = None
        self.slots.give_back(slot)
        if not self._running[sequence.request.id].active:
            del self._running[sequence.request.id]
        return slot

    def forget_waiting(self, group: SequenceGroup) -> None:
        """Takes a group without slots out of the queue."""
        self._waiting.remove(group)

    def _prefills(self) -> list[Prefill]:
        """All that are not done. The choices of a request share that of its prompt."""
        sequences = (sequence for group in self._running.values() for sequence in group.active)
        return list(dict.fromkeys(sequence.prefill for sequence in sequences if sequence.prefill is not None))

    def _waiting_with(self, request_id: str) -> Iterator[SequenceGroup]:
        return (group for group in self._waiting if group.request.id == request_id)


def _chunk_size(left: int, budget: int) -> int:
    """Size of the next chunk: at most `budget`, aligned, and never leaving one token for the last chunk.

    It exceeds the budget only where a smaller chunk, or the rest after it, would be a single token.
    """
    if left <= max(budget, MIN_CHUNK):
        return left
    size = max(budget, MIN_CHUNK)
    if size > _ALIGNMENT:
        size -= size % _ALIGNMENT
    if left - size == 1:
        size = size - 1 if size > MIN_CHUNK else left
    return size
