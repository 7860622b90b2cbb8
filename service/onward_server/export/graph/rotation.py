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
        angles = np.outer(positions, np.array(frequencies, np.float32)).astype(
            np.float64
        )  # the product is rounded to float32, as in transformers
        values = np.zeros((len(angles), self.num_pairs)) if self.is_sine else np.ones((len(angles), self.num_pairs))
        values[:, : len(frequencies)] = scale * (np.sin(angles) if self.is_sine else np.cos(angles))
        return values.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLayout:
    """The dimensions of a head in fused attention."""

    size: int
    """Number of dimensions, also in the caches: a multiple of what the operator needs."""
    own_size: int
    """Number of dimensions in the model."""

    @classmethod
    def of(cls, config: DecoderConfig) -> "HeadLayout":
        """The layout of all layers, which have caches of one shape."""
        is_rotated = any(layer.rope is not None for layer in config.layers)
        size = _ceil(config.head_dim, _HEAD_MULTIPLE if is_rotated else _PLAIN_HEAD_MULTIPLE)
        return cls(size=size, own_size=config.head_dim)

    def is_own(self, rope: Rope | None) -> bool:
        """Whether the operator takes queries and keys without padding, in the order of the model."""
        return self.size == self.own_size and (rope is None or 2 * len(rope.frequencies) % _HEAD_MULTIPLE == 0)

    def order(self, rope: Rope) -> tuple[int, ...]:
        """For each dimension of a query or key, the one of the model, or -1 for zeros.

        The operator rotates dimension i with dimension i + half. Dimensions that the model does not rotate are paired
        with each other or with zeros, and rotated by an angle of 0.
        """
        pairs, half = len(rope.frequencies), self.size // 2
        rest = [*range(2 * pairs, self.own_size)]
        low = [*range(pairs), *rest[: half - pairs]]
        high = [*range(pairs, 2 * pairs), *rest[half - pairs :]]
        return (*low, *[-1] * (half - len(low)), *high, *[-1] * (half - len(high)))

    def num_pairs(self, rope: Rope) -> int:
        """Columns of the tables of a rotation."""
        return len(rope.frequencies) if self.is_own(rope) else self.size // 2


def _ceil(value: int, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple
