"""Binds the inputs of a run of one row, except its caches, and the array for its logits."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onward_server.model.causal_lm import Logits
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import AnyArray, Binding, ElementType, TensorInfo


class RowLogits:
    """Memory for the logits of a run of one row. All runs of a model share it, and it grows to the largest of them."""

    def __init__(self, io: DecoderIO) -> None:
        self._io = io
        self._memory = io.new_logits(1, 1)

    def grow(self, num_logits: int) -> bool:
        """Makes room for the logits of a run; returns whether that replaced the memory, which old bindings keep."""
        if self._memory.size >= num_logits * self._io.vocabulary_size:
            return False
        self._memory = self._io.new_logits(1, num_logits)
        return True

    def array(self, num_logits: int) -> AnyArray:
        """An array for the logits of the next run, as the graph has them. Its values last until the run after it."""
        self.grow(num_logits)
        return self._memory[:, :num_logits] if self._memory.ndim == 3 else self._memory


def bind_row(
    io: DecoderIO,
    binding: Binding,
    token_ids: npt.NDArray[np.int64] | Sequence[int],
    start: int,
    memory: RowLogits,
    *,
    num_logits: int = 1,
) -> AnyArray:
    """Binds `token_ids` (S,) at positions [start, start + S).

    Returns:
        The array that the run fills with logits, (1, n, V): n is `num_logits`, or S or 1 if the graph decides.
    """
    size = len(token_ids)
    total = start + size
    _bind(binding, io.token_ids, np.asarray(token_ids)[None])
    _bind(binding, io.mask, np.ones((1, total)))
    bind_positions(io, binding, range(start, total))
    _bind(binding, io.cache_position, np.arange(start, total))
    if io.cache_branch is not None:
        _bind(binding, io.cache_branch, np.full((1,) * len(io.cache_branch.shape), start > 0))
    bind_num_logits(io, binding, num_logits)
    logits = memory.array(io.num_logits_of(size, num_logits))
    binding.bind_host_output(io.logits.name, logits, io.logits_type)
    return logits.reshape(1, -1, io.vocabulary_size)


def bind_positions(io: DecoderIO, binding: Binding, positions: Sequence[int]) -> None:
    """Binds the positions (S,) of the tokens, if the graph takes them."""
    _bind(binding, io.positions, np.asarray(positions)[None])


def bind_rope_length(io: DecoderIO, binding: Binding, length: int) -> None:
    """Binds the length of the sequence by which its rotation is chosen (0: that of the run), if the graph takes it."""
    _bind(binding, io.rope_length, np.array([length]))


def bind_num_logits(io: DecoderIO, binding: Binding, num_logits: int) -> None:
    """Binds the number of last tokens that get logits, if the graph takes it."""
    if io.num_logits is not None:
        _bind(binding, io.num_logits, np.full((1,) * len(io.num_logits.shape), num_logits))


def to_float32(logits: AnyArray, element_type: ElementType) -> Logits:
    """The logits in float32: the same array if they are."""
    if element_type.is_bfloat16:
        return (logits.astype(np.uint32) << 16).view(np.float32)
    return logits.astype(np.float32, copy=False)


def _bind(binding: Binding, info: TensorInfo | None, values: npt.NDArray[np.generic]) -> None:
    if info is not None:
        binding.bind_host_input(info.name, np.asarray(values, info.element_type.numpy, order="C"))
