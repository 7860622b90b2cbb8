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

If the result for a token depends on the other tokens in its run, the runs are isolated: each decodes one row, or
prefills a fixed number of tokens without a spare one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import AnyArray, Binding, DeviceBuffer, OnnxSession, TensorInfo
from onward_server.model.row_run import RowLogits, bind_num_logits, bind_rope_length, bind_row, to_float32

_BUCKET = 64
"""Total lengths of decode runs are rounded up to a multiple of this, so that many steps share a mask."""
_MAX_BINDINGS = 64
"""Bindings of each kind that are kept. A binding takes some 40 KiB, and binding anew costs less than a step."""


@dataclass(slots=True)
class _DecodeBinding:
    binding: Binding
    token_ids: AnyArray  # (B, 1)
    positions: AnyArray  # (B, 1)
    logits: AnyArray  # (B, V)
    mask: AnyArray  # (B, bucketed total), in memory that all bindings share


class SlotCausalLM:
    """Implements `CausalLM` for a GroupQueryAttention export."""

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
        self.is_on_cpu = session.is_cpu
        self.fixed_chunk: int | None = None
        self.switch_length = io.switch_length
        self.min_decode_rows = 1
        """Smallest number of rows of a decode run: 2 if a single row uses another kernel, as with int4."""
        self.has_single_rows = io.takes_single_rows
        """Whether each sequence decodes in a run of its own."""
        self._isolation_chunk = isolation_chunk
        self._session = session
        self._io = io
        self._capacity = _round_up(context_length)
        self._num_rows = max(num_slots, 2)
        self._caches = [
            DeviceBuffer(session, cache.shape(self._num_rows, max(self._capacity, cache.window)), cache.element_type)
            for cache in io.caches
        ]
        self._row_lengths = np.zeros(self._num_rows, np.int64)
        self._rows = list(range(num_slots))  # slot to row
        self._positions = np.arange(self._capacity, dtype=np.int64)
        self._logits = io.new_logits(self._num_rows, 1)  # of decode runs
        self._row_logits = RowLogits(io)
        self._mask = np.empty(self._num_rows * self._capacity, io.mask.element_type.numpy if io.mask else np.int64)
        self._decode_bindings: dict[int, _DecodeBinding] = {}
        self._prefill_bindings: dict[int, Binding] = {}

    @staticmethod
    def cache_bytes(io: DecoderIO, *, num_slots: int, context_length: int) -> int:
        """Bytes of KV memory when all slots are full. A padding row of a single slot takes hardly any."""
        capacity = _round_up(context_length)
        row_bytes = sum(cache.token_bytes * max(capacity, cache.window) for cache in io.caches)
        return num_slots * row_bytes

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """See `CausalLM.prefill`. A spare token does not count for the rotation."""
        row, size = self._rows[slot], len(token_ids)
        start = int(self._row_lengths[row])
        room = self.context_length - start - size
        if room < 0 or (start and size < 2):
            raise AssertionError(f"a chunk of {size} tokens at {start} of {self.context_length}")
        run = partial(self._prefill_row, row, rope_length=total_length or start + size)
        if self.fixed_chunk is not None:
            return run(start, token_ids, num_spare=0)
        if room and not self._io.has_last_logits_only:
            return run(start, np.append(token_ids, 0), num_spare=1)
        # The logits of a spare token would replace those of the last one, or there is no position for a spare token:
        # so the last run has two tokens.
        if size > 2:
            run(start, np.append(token_ids[:-2], 0), num_spare=1)
            start, token_ids = start + size - 2, token_ids[-2:]
        return run(start, token_ids, num_spare=0)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        if self.has_single_rows:
            rows = [(self._rows[slot], token_id) for slot, token_id in zip(slots, token_ids, strict=True)]
            return np.stack(
                [
                    self._prefill_row(row, int(self._row_lengths[row]), [token_id], num_spare=0).copy()
                    for row, token_id in rows
                ]
            )
        self._close_gaps(slots)
        rows = [self._rows[slot] for slot in slots]
        return self._decode_rows(rows, token_ids, num_rows=max(self.min_decode_rows, max(rows) + 1))

    def copy(self, source: int, target: int) -> None:
        """See `CausalLM.copy`."""
        self._copy_row(self._rows[source], self._rows[target])

    def release(self, slot: int) -> None:
        """See `CausalLM.release`."""
        self._row_lengths[self._rows[slot]] = 0

    def isolate_runs(self) -> bool:
        """Makes each run independent of what else runs (see above); returns whether that changes anything.

        On CUDA it changes nothing, because there even isolated runs give other bits, and batches are needed.
        """
        if self.fixed_chunk is not None or not self._session.is_cpu:
            return False
        self.fixed_chunk = self._isolation_chunk
        self.has_single_rows = True
        return True

    def probe_length(self, token_ids: TokenIds) -> Logits:
        """Decodes a short sequence beside a row of zeros that ends the context, with all slots empty before and after.

        Returns:
            The logits (V,) after the sequence; empty if rows never share a run.
        """
        if self.has_single_rows:
            return np.empty(0, np.float32)
        self.prefill(self._rows.index(0), token_ids[:-1])
        self._row_lengths[1] = self.context_length - 1
        logits = self._decode_rows([0], [int(token_ids[-1])], num_rows=2)[0].copy()
        self._row_lengths[:2] = 0
        return logits

    def run_at_end(self, num_tokens: int = 1) -> None:
        """Runs the last tokens of the context, with all slots empty before and after.

        Raises:
            EngineFailed: The graph does not support their positions.
        """
        self._row_lengths[self._rows[0]] = self.context_length - num_tokens
        if num_tokens == 1:
            self.decode([0], [0])
        else:
            self.prefill(0, np.zeros(num_tokens, np.int64))
        self.release(0)

    def clear(self) -> None:
        """Gives the memory of all slots, which must be empty, back to the system until it is written again."""
        for cache in self._caches:
            cache.clear()

    def _decode_rows(self, rows: list[int], token_ids: Sequence[int], *, num_rows: int) -> Logits:
        """Decodes some of the first `num_rows` rows; the others are idle."""
        run = self._decode_binding(num_rows)
        lengths = self._row_lengths[:num_rows]
        run.token_ids[rows, 0] = token_ids
        run.positions[:, 0] = lengths
        self._set_mask(run, lengths)
        self._session.run(run.binding)
        self._row_lengths[rows] += 1
        logits = run.logits
        if rows != list(range(len(rows))):
            logits = logits[rows]
        return to_float32(logits[: len(rows)], self._io.logits_type)

    def _prefill_row(
        self, row: int, start: int, token_ids: TokenIds | Sequence[int], *, num_spare: int, rope_length: int = 0
    ) -> Logits:
        """Prefills tokens; returns the logits (V,) after the last token that is not spare, if the graph gives them."""
        num_logits = 1 + num_spare
        if self._row_logits.grow(self._io.num_logits_of(len(token_ids), num_logits)):
            self._prefill_bindings.clear()  # each keeps the memory of its last run
        binding = self._prefill_binding(row)
        bind_rope_length(self._io, binding, rope_length)
        logits = bind_row(self._io, binding, token_ids, start, self._row_logits, num_logits=num_logits)
        self._session.run(binding)
        self._row_lengths[row] = start + len(token_ids) - num_spare
        return to_float32(logits[0, max(-1 - num_spare, -logits.shape[1])], self._io.logits_type)

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
        if self._io.mask is None:
            return
        total = min(_round_up(int(lengths.max()) + 1), self.context_length)
        if run.mask.shape[1] != total:
            run.mask = self._mask[: len(lengths) * total].reshape(-1, total)
            run.binding.bind_host_input(self._io.mask.name, run.mask)
        run.mask[...] = self._positions[:total] <= lengths[:, None]

    def _decode_binding(self, num_rows: int) -> _DecodeBinding:
        if num_rows not in self._decode_bindings:
            if len(self._decode_bindings) == _MAX_BINDINGS:
                self._decode_bindings.clear()
            run = _DecodeBinding(
                binding=self._bound_to_rows(0, num_rows),
                token_ids=_column(num_rows, self._io.token_ids),
                positions=_column(num_rows, self._io.positions),
                logits=self._logits[:num_rows].reshape(num_rows, -1),
                mask=np.empty((num_rows, 0)),
            )
            run.binding.bind_host_input(self._io.token_ids.name, run.token_ids)
            if self._io.positions is not None:
                run.binding.bind_host_input(self._io.positions.name, run.positions)
            bind_rope_length(self._io, run.binding, 0)
            bind_num_logits(self._io, run.binding, 1)
            run.binding.bind_host_output(self._io.logits.name, self._logits[:num_rows], self._io.logits_type)
            self._decode_bindings[num_rows] = run
        return self._decode_bindings[num_rows]

    def _prefill_binding(self, row: int) -> Binding:
        if row not in self._prefill_bindings:
            if len(self._prefill_bindings) == _MAX_BINDINGS:
                self._prefill_bindings.clear()
            self._prefill_bindings[row] = self._bound_to_rows(row, 1)
        return self._prefill_bindings[row]

    def _bound_to_rows(self, first: int, num_rows: int) -> Binding:
        binding = Binding(self._session)
        for cache, buffer in zip(self._io.caches, self._caches, strict=True):
            shape = (num_rows, *buffer.shape[1:])
            pointer = buffer.row_pointer(first)
            binding.bind_device_input(cache.past_name, pointer, shape, cache.element_type)
            binding.bind_device_output(cache.present_name, pointer, shape, cache.element_type)
        return binding


def _column(num_rows: int, info: TensorInfo | None) -> AnyArray:
    return np.zeros((num_rows, 1), np.int64 if info is None else info.element_type.numpy)


def _round_up(length: int) -> int:
    return -(-length // _BUCKET) * _BUCKET
