"""A CausalLM for graphs whose KV caches grow by concatenation, as the decomposed exports of Optimum.

A run has one row. Each slot has two flat buffers for each cache, each as large as the context. A run reads the past,
such as `(1, H_kv, length, D)`, from one and writes the present, such as `(1, H_kv, length + S, D)`, to the other. Then
they swap.
"""

from collections.abc import Sequence

import numpy as np

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import Binding, DeviceBuffer, OnnxSession
from onward_server.model.row_run import RowLogits, bind_row, to_float32


class GrowingCausalLM:
    """Implements `CausalLM` for a graph that returns each cache as a new tensor."""

    def __init__(
        self,
        session: OnnxSession,
        io: DecoderIO,
        *,
        num_slots: int,
        context_length: int,
        fixed_chunk: int | None = None,
    ) -> None:
        self.num_slots = num_slots
        self.context_length = context_length
        self.vocabulary_size = io.vocabulary_size
        # A graph that chooses between starting a prompt and adding one token must get a prompt in one run.
        self.fixed_chunk = fixed_chunk if io.cache_branch is None else context_length
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
        """Bytes of KV memory that the constructor allocates."""
        return io.token_bytes * 2 * num_slots * context_length

    def prefill(self, slot: int, token_ids: TokenIds) -> Logits:
        """See `CausalLM.prefill`."""
        if not self._io.takes_single_tokens:
            return self._run(slot, token_ids)
        return [self._run(slot, token_ids[position : position + 1]) for position in range(len(token_ids))][-1]

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

    def run_at_end(self) -> None:
        """Decodes at the last position of the context, with all slots empty before and after.

        Raises:
            EngineFailed: The graph does not support that position.
        """
        self._lengths[0] = self.context_length - 1
        self.decode([0], [0])
        self.release(0)

    def _run(self, slot: int, token_ids: TokenIds) -> Logits:
        start, side, size = self._lengths[slot], self._sides[slot], len(token_ids)
        total = start + size
        if total > self.context_length:
            raise AssertionError(f"{size} tokens at {start} of {self.context_length}")
        binding = self._binding
        for cache, buffer in zip(self._io.caches, self._caches, strict=True):
            past, present = buffer.row_pointer(2 * slot + side), buffer.row_pointer(2 * slot + 1 - side)
            binding.bind_device_input(cache.past_name, past, cache.shape(1, start), cache.element_type)
            binding.bind_device_output(cache.present_name, present, cache.shape(1, total), cache.element_type)
        logits = bind_row(self._io, binding, token_ids, start, self._row_logits)
        self._session.run(binding)
        self._lengths[slot], self._sides[slot] = total, 1 - side
        return to_float32(logits[0, -1], self._io.logits_type)
