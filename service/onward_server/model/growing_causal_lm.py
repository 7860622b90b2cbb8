"""A CausalLM for decomposed exports (Optimum, transformers.js), whose KV caches grow by concatenation.

A run has one row. Each slot has two flat buffers for the keys and two for the values of each layer, each as large as
the context. A run reads the past `(1, H_kv, length, D)` from one and writes the present `(1, H_kv, length + S, D)` to
the other. Then they swap.
"""

from collections.abc import Sequence

import numpy as np

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import AnyArray, Binding, DeviceBuffer, OnnxSession


class GrowingCausalLM:
    """Implements `CausalLM` for a decomposed export."""

    def __init__(self, session: OnnxSession, io: DecoderIO, *, num_slots: int, context_length: int) -> None:
        self.num_slots = num_slots
        self.context_length = context_length
        self.vocabulary_size = io.vocabulary_size
        self._session = session
        self._io = io
        self._caches = [  # row 2 * slot + side
            DeviceBuffer(
                session, (2 * num_slots, cache.num_heads * context_length * cache.head_dim), cache.element_type
            )
            for cache in io.caches
        ]
        self._lengths = [0] * num_slots
        self._sides = [0] * num_slots
        self._positions = np.arange(context_length, dtype=np.int64)
        self._binding = Binding(session)
        if io.has_num_logits:
            self._binding.bind_host_input("num_logits_to_keep", np.array(1, np.int64))

    @staticmethod
    def cache_bytes(io: DecoderIO, *, num_slots: int, context_length: int) -> int:
        """Bytes of KV memory that the constructor allocates."""
        return io.token_bytes * 2 * num_slots * context_length

    def prefill(self, slot: int, token_ids: TokenIds) -> Logits:
        """See `CausalLM.prefill`."""
        return self._run(slot, token_ids)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        rows = [
            self._run(slot, np.array([token_id], np.int64)) for slot, token_id in zip(slots, token_ids, strict=True)
        ]
        return np.stack(rows)

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""
        for cache in self._caches:
            cache.copy_row(2 * source + self._sides[source], 2 * target)
        self._sides[target] = 0
        self._lengths[target] = self._lengths[source]

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
            binding.bind_device_input(
                cache.past_name, past, (1, cache.num_heads, start, cache.head_dim), cache.element_type
            )
            binding.bind_device_output(
                cache.present_name, present, (1, cache.num_heads, total, cache.head_dim), cache.element_type
            )
        logits = self._bind_tokens(token_ids, start)
        self._session.run(binding)
        self._lengths[slot], self._sides[slot] = total, 1 - side
        return logits[0, -1].astype(np.float32, copy=False)

    def _bind_tokens(self, token_ids: TokenIds, start: int) -> AnyArray:
        """Binds all inputs and outputs except the caches; returns the array for the logits, (1, S or 1, V)."""
        size = len(token_ids)
        self._binding.bind_host_input("input_ids", np.ascontiguousarray(token_ids, np.int64)[None])
        if self._io.has_mask:
            self._binding.bind_host_input("attention_mask", np.ones((1, start + size), np.int64))
        if self._io.has_positions:
            self._binding.bind_host_input(
                "position_ids", np.ascontiguousarray(self._positions[None, start : start + size])
            )
        logits = np.empty((1, 1 if self._io.has_num_logits else size, self.vocabulary_size), self._io.logits_type.numpy)
        self._binding.bind_host_output("logits", logits)
        return logits
