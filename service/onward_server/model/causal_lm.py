"""What the engine sees of a model: a forward pass over KV slots; it does not know ONNX Runtime.

A slot holds the keys and values of one sequence. The model keeps each slot's length: `prefill` and `decode` append to
it, `copy` duplicates it, `release` empties it.

    empty ──prefill(S ≥ 1)──▶ length S ──prefill(S ≥ 2) | decode──▶ length + S | + 1 ──release──▶ empty
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.int64]


class CausalLM(Protocol):
    """A causal language model with a fixed number of KV slots, used by one thread."""

    @property
    def num_slots(self) -> int:
        """Slots, numbered from 0; all of their memory is allocated at start."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens that a slot holds."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Width of the logits."""
        ...

    def prefill(self, slot: int, token_ids: TokenIds) -> Logits:
        """Appends `token_ids` (S,) to one slot and returns the logits (V,) after the last of them.

        A continuation has S ≥ 2, because one token alone takes another kernel and other bits. The array is valid until
        the next run.

        Raises:
            EngineFailed: the run failed; the slot must be released.
        """
        ...

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """Appends one token to each of B non-empty slots and returns their logits (B, V), valid until the next run.

        Raises:
            EngineFailed: the run failed; the slots must be released.
        """
        ...

    def copy(self, source: int, target: int) -> None:
        """Makes an empty slot equal to another one."""
        ...

    def release(self, slot: int) -> None:
        """Empties a slot."""
        ...
