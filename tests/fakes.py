"""Fakes below the engine: a model with scripted logits that enforces the rules of KV slots."""

from collections.abc import Callable, Sequence

import numpy as np

from onward_server.errors import EngineFailed
from onward_server.model.causal_lm import Logits, TokenIds

Script = Callable[[list[int]], int]
"""Maps all token ids of a slot to the most likely next one; a negative id stands for logits that are NaN."""


def next_number(token_ids: list[int]) -> int:
    """The last token id + 1."""
    return token_ids[-1] + 1


class FakeCausalLM:
    """Keeps the tokens of each slot, and gives the scripted token a logit of 10 and all others 0.

    Fails an assertion where a caller breaks the contract of `CausalLM`.
    """

    def __init__(
        self,
        script: Script = next_number,
        *,
        num_slots: int = 4,
        context_length: int = 64,
        vocabulary_size: int = 100,
        fixed_chunk: int | None = None,
        switch_length: int | None = None,
    ) -> None:
        self.num_slots = num_slots
        self.context_length = context_length
        self.vocabulary_size = vocabulary_size
        self.fixed_chunk = fixed_chunk
        self.switch_length = switch_length
        self.slots: list[list[int]] = [[] for _ in range(num_slots)]
        self.runs: list[tuple[str, int]] = []
        """Kind of each run and its number of tokens."""
        self.fail_next = 0
        """How many of the next runs fail."""
        self.on_run: Callable[[], None] = lambda: None
        """Called at the start of each run, on the thread of the caller."""
        self._script = script
        self._total_lengths: dict[int, int] = {}
        """Of the prompt in each slot that has a chunk of it."""

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """See `CausalLM.prefill`."""
        self._start_run("prefill", len(token_ids))
        if self.slots[slot] and len(token_ids) < 2:
            raise AssertionError("a later chunk has a single token")
        self._append(slot, token_ids.tolist())
        if self.switch_length is not None:
            expected = self._total_lengths.setdefault(slot, total_length)
            if total_length != expected or total_length < len(self.slots[slot]):
                raise AssertionError(f"a chunk of a prompt of {total_length} tokens in a slot for {expected}")
        return self._logits(slot)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        self._start_run("decode", len(slots))
        if len(set(slots)) != len(slots) or not all(self.slots[slot] for slot in slots):
            raise AssertionError(f"decode needs distinct slots that are not empty, got {slots}")
        for slot, token_id in zip(slots, token_ids, strict=True):
            if len(self.slots[slot]) == self.switch_length:
                raise AssertionError(f"slot {slot} holds {self.switch_length} tokens and must be computed again")
            self._append(slot, [token_id])
        return np.stack([self._logits(slot) for slot in slots])

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""
        if self.slots[target]:
            raise AssertionError(f"slot {target} is not empty")
        self.slots[target] = list(self.slots[source])

    def release(self, slot: int) -> None:
        """See `CausalLM.release`."""
        self.slots[slot] = []
        self._total_lengths.pop(slot, None)

    def _start_run(self, kind: str, size: int) -> None:
        self.runs.append((kind, size))
        self.on_run()
        if self.fail_next:
            self.fail_next -= 1
            raise EngineFailed("scripted failure")

    def _append(self, slot: int, token_ids: list[int]) -> None:
        self.slots[slot] += token_ids
        if len(self.slots[slot]) > self.context_length:
            raise AssertionError(f"slot {slot} holds more than {self.context_length} tokens")

    def _logits(self, slot: int) -> Logits:
        logits = np.zeros(self.vocabulary_size, np.float32)
        winner = self._script(self.slots[slot])
        if winner < 0:
            logits[:] = np.nan
        else:
            logits[winner % self.vocabulary_size] = 10
        return logits
