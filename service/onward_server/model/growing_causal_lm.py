"""A CausalLM for graphs whose KV caches grow by concatenation, such as the decomposed exports of Optimum.

A run has one row. Each slot has two flat buffers for each cache, each as large as the context. A run reads the past,
such as `(1, H_kv, length, D)`, from one and writes the present, such as `(1, H_kv, length + S, D)`, to the other. Then
they swap.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import Binding, DeviceBuffer, OnnxSession
from onward_server.model.row_run import RowLogits, bind_positions, bind_rope_length, bind_row, to_float32

_EARLY = 8
"""A position that is in any context and rotates keys, which position 0 does not."""


class GrowingCausalLM:
    """Implements `CausalLM` for a graph that returns each cache as a new tensor."""

    def __init__(
        self,
        session: OnnxSession,
        io: DecoderIO,
        *,
        num_slots: int,
        context_length: int,
        isolation_chunk: int = 256,
    ) -> None:
        self.num_slots = num_slots
        self.context_length = context_length
        self.vocabulary_size = io.vocabulary_size
        self.switch_length = io.switch_length
        self.is_on_cpu = session.is_cpu
        # A graph that chooses between starting a prompt and adding one token must get a prompt in one run.
        self.fixed_chunk = None if io.cache_branch is None else context_length
        self._isolation_chunk = isolation_chunk
        self._session = session
        self._io = io
        self._caches = [  # row 2 * slot + side
            DeviceBuffer(session, (2 * num_slots, cache.token_size * context_length), cache.element_type)
            for cache in io.caches
        ]
        self._lengths = [0] * num_slots
        self._sides = [0] * num_slots
        self._binding = Binding(session)
        self._row_logits = RowLogits(io)

    @staticmethod
    def cache_bytes(io: DecoderIO, *, num_slots: int, context_length: int) -> int:
        """Bytes of KV memory when all slots are full."""
        return io.token_bytes * 2 * num_slots * context_length

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """See `CausalLM.prefill`."""
        rope_length = total_length or self._lengths[slot] + len(token_ids)
        if not self._io.takes_single_tokens:
            return self._run(slot, token_ids, rope_length=rope_length)
        for token_id in token_ids[:-1]:
            self._run(slot, np.array([token_id], np.int64), rope_length=rope_length)
        return self._run(slot, token_ids[-1:], rope_length=rope_length)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        rows = [
            self._run(slot, np.array([token_id], np.int64)).copy()
            for slot, token_id in zip(slots, token_ids, strict=True)
        ]
        return np.stack(rows)

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""
        length = self._lengths[source]
        for cache, buffer in zip(self._io.caches, self._caches, strict=True):
            buffer.copy_row(2 * source + self._sides[source], 2 * target, cache.token_size * length)
        self._sides[target] = 0
        self._lengths[target] = length

    def release(self, slot: int) -> None:
        """See `CausalLM.release`."""
        self._lengths[slot] = 0

    def isolate_runs(self) -> bool:
        """Prefills in runs of a fixed size; returns whether that changes anything. On CUDA it does not."""
        if self.fixed_chunk is not None or not self._session.is_cpu:
            return False
        self.fixed_chunk = self._isolation_chunk
        return True

    def probe_length(self, token_ids: TokenIds) -> npt.NDArray[np.float32]:
        """Runs two tokens at the end of the context, the first with an early position. Slot 0 must be empty.

        Returns:
            The first layer's entry in the cache for the first token. It depends on the length of the run only if the
            graph computes positions differently in long runs. Empty if the graph takes no positions.
        """
        io, buffer = self._io, self._caches[0]
        if io.positions is None or io.takes_single_tokens or io.cache_branch is not None or buffer.host is None:
            return np.empty(0, np.float32)
        cache, total = io.caches[0], self.context_length
        self._lengths[0] = total - 2
        self._run(0, token_ids[:2], positions=[_EARLY, total - 1])
        present = buffer.host[self._sides[0], : cache.token_size * total].reshape(cache.shape(1, total))
        entry = np.take(present, [total - 2], axis=cache.length_axis)
        self.release(0)
        return to_float32(entry, cache.element_type)

    def run_at_end(self, num_tokens: int = 1) -> None:
        """Runs the last tokens of the context, with all slots empty before and after.

        Raises:
            EngineFailed: The graph does not support their positions.
        """
        self._lengths[0] = self.context_length - num_tokens
        if num_tokens == 1:
            self.decode([0], [0])
        else:
            self.prefill(0, np.zeros(num_tokens, np.int64))
        self.release(0)

    def clear(self) -> None:
        """Gives the memory of all slots, which must be empty, back to the system until it is written again."""
        for cache in self._caches:
            cache.clear()

    def _run(
        self, slot: int, token_ids: TokenIds, positions: Sequence[int] | None = None, *, rope_length: int = 0
    ) -> Logits:
        start, side, size = self._lengths[slot], self._sides[slot], len(token_ids)
        total = start + size
        if total > self.context_length:
            raise AssertionError(f"{size} tokens at {start} of {self.context_length}")
        binding = self._binding
        for cache, buffer in zip(self._io.caches, self._caches, strict=True):
            past, present = buffer.row_pointer(2 * slot + side), buffer.row_pointer(2 * slot + 1 - side)
            binding.bind_device_input(cache.past_name, past, cache.shape(1, start), cache.element_type)
            binding.bind_device_output(cache.present_name, present, cache.shape(1, total), cache.element_type)
        bind_rope_length(self._io, binding, rope_length)
        logits = bind_row(self._io, binding, token_ids, start, self._row_logits)
        if positions is not None:
            bind_positions(self._io, binding, positions)
        self._session.run(binding)
        self._lengths[slot], self._sides[slot] = total, 1 - side
        return to_float32(logits[0, -1], self._io.logits_type)
