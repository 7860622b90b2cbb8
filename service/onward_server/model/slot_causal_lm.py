"""A CausalLM for GroupQueryAttention exports: slots share buffers, and caches are written in place.

Each layer has a buffer for keys and one for values, `(slots, H_kv, capacity, D)`, which is past and present at once:
the operator detects a shared buffer by equal pointers. A decode run uses rows [0, B) of it. A prefill run uses one row,
and its mask is exactly as long as the tokens so far, because the operator takes S == total for the start of a prompt:

    decode   ids (B, 1)   mask row i = 1 for [0, length_i + 1)   total = any bucket beyond the longest row
    prefill  ids (1, S)   mask       = 1 for [0, length + S)     total = length + S exactly

Attention works in tiles of rows, and a last row alone in its tile would use another kernel, which gives different bits.
A prefill run therefore appends a spare token where there is room; its position is overwritten before it is read.

A row in [0, B) whose slot does not decode is idle. It writes one position past its own length, which is overwritten
before it is read. A full slot is never idle, because its sequence ends in the step that filled it. The row of a slot
can change: rows in use are kept at the front of the buffer by moving the last one into a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import AnyArray, Binding, DeviceBuffer, OnnxSession

_BUCKET = 64
"""Total lengths of decode runs are rounded up to a multiple of this, so that many steps share a mask."""


@dataclass(slots=True)
class _DecodeBinding:
    binding: Binding
    token_ids: npt.NDArray[np.int64]  # (B, 1)
    positions: npt.NDArray[np.int64]  # (B, 1)
    logits: AnyArray  # (B, 1, V)
    mask: npt.NDArray[np.int64]  # (B, bucketed total)


class SlotCausalLM:
    """Implements `CausalLM` for a GroupQueryAttention export."""

    def __init__(self, session: OnnxSession, io: DecoderIO, *, num_slots: int, context_length: int) -> None:
        self.num_slots = num_slots
        self.context_length = context_length
        self.vocabulary_size = io.vocabulary_size
        self.min_decode_rows = 1
        """Smallest number of rows of a decode run: 2 if a single row uses another kernel, as with int4."""
        self._session = session
        self._io = io
        self._capacity = _round_up(context_length)
        self._num_rows = max(num_slots, 2)
        self._caches = [
            DeviceBuffer(session, (self._num_rows, cache.num_heads, self._capacity, cache.head_dim), cache.element_type)
            for cache in io.caches
        ]
        self._row_lengths = np.zeros(self._num_rows, np.int64)
        self._rows = list(range(num_slots))  # slot to row
        self._positions = np.arange(self._capacity, dtype=np.int64)
        self._logits = np.empty((self._num_rows, 1, io.vocabulary_size), io.logits_type.numpy)  # of decode runs
        self._decode_bindings: dict[int, _DecodeBinding] = {}
        self._prefill_bindings: dict[int, Binding] = {}

    @staticmethod
    def cache_bytes(io: DecoderIO, *, num_slots: int, context_length: int) -> int:
        """Bytes of KV memory that the constructor allocates."""
        return io.token_bytes * max(num_slots, 2) * _round_up(context_length)

    def prefill(self, slot: int, token_ids: TokenIds) -> Logits:
        """See `CausalLM.prefill`."""
        row, size = self._rows[slot], len(token_ids)
        start = int(self._row_lengths[row])
        room = self.context_length - start - size
        if room < 0 or (start and size < 2):
            raise AssertionError(f"a chunk of {size} tokens at {start} of {self.context_length}")
        if room:
            return self._prefill_row(row, start, np.append(token_ids, 0), num_spare=1)
        if size > 3:  # no position is left for a spare token, so the last run has two tokens
            self._prefill_row(row, start, token_ids[:-1], num_spare=1)
            start, token_ids = start + size - 2, token_ids[-2:]
        return self._prefill_row(row, start, token_ids, num_spare=0)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        self._close_gaps(slots)
        rows = [self._rows[slot] for slot in slots]
        run = self._decode_binding(max(self.min_decode_rows, max(rows) + 1))
        num_rows = len(run.token_ids)
        lengths = self._row_lengths[:num_rows]
        run.token_ids[rows, 0] = token_ids
        run.positions[:, 0] = lengths
        self._set_mask(run, lengths)
        self._session.run(run.binding)
        self._row_lengths[rows] += 1
        logits = run.logits[:, 0]
        if rows != list(range(len(rows))):
            logits = logits[rows]
        return logits[: len(rows)].astype(np.float32, copy=False)

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""
        self._copy_row(self._rows[source], self._rows[target])

    def release(self, slot: int) -> None:
        """See `CausalLM.release`."""
        self._row_lengths[self._rows[slot]] = 0

    def run_at_end(self) -> None:
        """Decodes at the last position of the context, with all slots empty before and after.

        Raises:
            EngineFailed: The graph does not support that position.
        """
        self._row_lengths[self._rows[0]] = self.context_length - 1
        self.decode([0], [0])
        self.release(0)

    def _prefill_row(self, row: int, start: int, token_ids: TokenIds, *, num_spare: int) -> Logits:
        """Prefills tokens; returns the logits (V,) after the last token that is not spare."""
        size = len(token_ids)
        total = start + size
        binding = self._prefill_binding(row)
        binding.bind_host_input("input_ids", np.ascontiguousarray(token_ids, np.int64)[None])
        self._bind_optional(binding, mask=np.ones((1, total), np.int64), positions=self._positions[None, start:total])
        num_logits = 1 + num_spare if self._io.has_num_logits else size
        if self._io.has_num_logits:
            binding.bind_host_input("num_logits_to_keep", np.array(num_logits, np.int64))
        logits = np.empty((1, num_logits, self.vocabulary_size), self._io.logits_type.numpy)
        binding.bind_host_output("logits", logits)
        self._session.run(binding)
        self._row_lengths[row] = total - num_spare
        return logits[0, -1 - num_spare].astype(np.float32, copy=False)

    def _close_gaps(self, slots: Sequence[int]) -> None:
        """Moves decoding rows into empty rows before them, so that a decode run has few idle rows."""
        if not self._session.is_cpu:  # on CUDA idle rows cost little, and a copy goes through the host
            return
        for slot in sorted(slots, key=lambda slot: self._rows[slot], reverse=True):
            row = self._rows[slot]
            if row < len(slots):
                return
            gap = next((other for other in range(row) if not self._row_lengths[other] and other < self.num_slots), None)
            if gap is None:
                return
            self._copy_row(row, gap)
            self._row_lengths[row] = 0
            other_slot = self._rows.index(gap)
            self._rows[slot], self._rows[other_slot] = gap, row

    def _copy_row(self, source: int, target: int) -> None:
        length = int(self._row_lengths[source])
        for cache in self._caches:
            cache.copy_row(source, target, length)
        self._row_lengths[target] = length

    def _set_mask(self, run: _DecodeBinding, lengths: npt.NDArray[np.int64]) -> None:
        total = min(_round_up(int(lengths.max()) + 1), self.context_length)
        if run.mask.shape[1] != total:
            run.mask = np.empty((len(lengths), total), np.int64)
            self._bind_optional(run.binding, mask=run.mask, positions=run.positions)
        run.mask[...] = self._positions[:total] <= lengths[:, None]

    def _decode_binding(self, num_rows: int) -> _DecodeBinding:
        if num_rows not in self._decode_bindings:
            run = _DecodeBinding(
                binding=self._bound_to_rows(0, num_rows),
                token_ids=np.zeros((num_rows, 1), np.int64),
                positions=np.zeros((num_rows, 1), np.int64),
                logits=self._logits[:num_rows],
                mask=np.empty((num_rows, 0), np.int64),
            )
            run.binding.bind_host_input("input_ids", run.token_ids)
            run.binding.bind_host_output("logits", run.logits)
            self._decode_bindings[num_rows] = run
        return self._decode_bindings[num_rows]

    def _prefill_binding(self, row: int) -> Binding:
        if row not in self._prefill_bindings:
            self._prefill_bindings[row] = self._bound_to_rows(row, 1)
        return self._prefill_bindings[row]

    def _bound_to_rows(self, first: int, num_rows: int) -> Binding:
        binding = Binding(self._session)
        for cache, buffer in zip(self._io.caches, self._caches, strict=True):
            shape = (num_rows, *buffer.shape[1:])
            pointer = buffer.row_pointer(first)
            binding.bind_device_input(cache.past_name, pointer, shape, cache.element_type)
            binding.bind_device_output(cache.present_name, pointer, shape, cache.element_type)
        if self._io.has_num_logits:
            binding.bind_host_input("num_logits_to_keep", np.array(1, np.int64))
        return binding

    def _bind_optional(
        self, binding: Binding, *, mask: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
    ) -> None:
        if self._io.has_mask:
            binding.bind_host_input("attention_mask", mask)
        if self._io.has_positions:
            binding.bind_host_input("position_ids", np.ascontiguousarray(positions))


def _round_up(length: int) -> int:
    return -(-length // _BUCKET) * _BUCKET
