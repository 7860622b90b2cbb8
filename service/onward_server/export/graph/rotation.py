"""Rotary tables, and the order of a head's dimensions in which fused attention rotates them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward_server.export.decoder_config import DecoderConfig, Rope

_HEAD_MULTIPLE = 16
"""Fused attention with rotation needs a head size that is a multiple of it, and rotates a multiple of it."""
_PLAIN_HEAD_MULTIPLE = 8
"""What fused attention without rotation needs."""


@dataclass(frozen=True, slots=True)
class RotaryTable:
    """Cosines or sines, [positions, pairs], made a range of positions at a time.

    With long frequencies, the table has twice the positions: the second half is for the sequences that use them.
    """

    rope: Rope
    num_positions: int
    num_pairs: int
    """Pairs beyond the frequencies are not rotated."""
    is_sine: bool

    @property
    def shape(self) -> tuple[int, int]:
        """One or two rows for each position."""
        return (self.num_positions * (1 if self.rope.long is None else 2), self.num_pairs)

    @property
    def layout(self) -> None:
        """Floats."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """See `Tensor.read`."""
        short, long = self.rope, self.rope.long
        middle = min(max(start, self.num_positions), stop)
        rows = [self._rows(short.frequencies, short.scale, start, middle)]
        if long is not None:
            rows.append(
                self._rows(long.frequencies, long.scale, middle - self.num_positions, stop - self.num_positions)
            )
        return np.concatenate(rows)

    def _rows(self, frequencies: tuple[float, ...], scale: float, start: int, stop: int) -> NDArray[np.float32]:
        positions = np.arange(start, stop, dtype=np.float32)
        angles = np.outer(positions, np.array(frequencies, np.float32)).astype(np.float64)  # rounded as in transformers
        values = np.zeros((len(angles), self.num_pairs)) if self.is_sine else np.ones((len(angles), self.num_pairs))
        values[:, : len(frequencies)] = scale * (np.sin(angles) if self.is_sine else np.cos(angles))
        return values.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLayout:
    """The order of the dimensions of a head in fused attention, where that differs from the model's."""

    size: int
    """Dimensions of a head in fused attention, and in the caches."""
    rotated: tuple[int, ...] | None
    """For each dimension of a query or key, the one of the model, or -1 for zeros; None: they are the same."""

    @classmethod
    def of(cls, config: DecoderConfig) -> "HeadLayout":
        """The layout of all layers, which have caches of one shape."""
        ropes = [layer.rope for layer in config.layers if layer.rope is not None]
        size = _ceil(config.head_dim, _HEAD_MULTIPLE if ropes else _PLAIN_HEAD_MULTIPLE)
        num_rotated = {2 * len(rope.frequencies) for rope in ropes}
        is_native = size == config.head_dim and all(number % _HEAD_MULTIPLE == 0 for number in num_rotated)
        if is_native:
            return cls(size=size, rotated=None)
        assert len(num_rotated) <= 1, "layers rotate different numbers of dimensions"
        pairs = next(iter(num_rotated), 0) // 2
        half = size // 2
        low = [*range(pairs)]
        high = [*range(pairs, 2 * pairs)]
        rest = [*range(2 * pairs, config.head_dim)]
        low += rest[: half - pairs]
        high += rest[half - pairs :]
        order = [*low, *[-1] * (half - len(low)), *high, *[-1] * (half - len(high))]
        return cls(size=size, rotated=tuple(order))

    def num_pairs(self, rope: Rope) -> int:
        """Columns of the tables of a rotation."""
        return len(rope.frequencies) if self.rotated is None else self.size // 2


def _ceil(value: int, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple
