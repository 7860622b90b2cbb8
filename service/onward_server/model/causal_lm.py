"""The interface between the engine and a model: runs over KV slots.

A slot holds the keys and values of one sequence. The model keeps each slot's length: `prefill` and `decode` append to
it, `copy` duplicates it, `release` empties it.

    empty ──prefill(S ≥ 1)──▶ length S ──prefill(S ≥ 2) | decode──▶ length + S | + 1 ──release──▶ empty

Some models compute keys differently in long sequences. The keys of a sequence must fit each other, so `prefill` takes
the length that a prompt has in all, and a sequence that decodes past `switch_length` is prefilled again.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]  # (V,) or (B, V)
TokenIds = npt.NDArray[np.int64]  # (S,)


class CausalLM(Protocol):
    """A causal language model with a fixed number of KV slots, used by one thread."""

    @property
    def num_slots(self) -> int:
        """Number of slots, which are numbered from 0. Their memory is taken as it is written."""
        ...

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a slot."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Width V of the logits."""
        ...

    @property
    def fixed_chunk(self) -> int | None:
        """Number of tokens in each prefill run of a prompt but its last; None: prompts may be cut anywhere.

        Set if the result of a run depends on which tokens it contains.
        """
        ...

    @property
    def switch_length(self) -> int | None:
        """The greatest length of a sequence whose keys are computed in one way; None: they always are.

        A slot of this length must not be decoded. It must be released, and all its tokens prefilled with the next one.
        """
        ...

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """Appends `token_ids` (S,) to one slot and returns the logits (V,) after the last of them.

        For a non-empty slot S must be at least 2: a run of one token uses another kernel, which gives different bits.
        The array is valid until the next run.

        Args:
            slot: The slot.
            token_ids: A whole prompt, or a chunk of one.
            total_length: Tokens of the prompt in all its chunks; 0: the length of the slot after this run.

        Raises:
            EngineFailed: The run failed. The slot must be released.
        """
        ...

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """Appends one token to each of B non-empty slots and returns their logits (B, V), valid until the next run.

        Raises:
            EngineFailed: The run failed. The slots must be released.
        """
        ...

    def copy(self, source: int, target: int) -> None:
        """Copies the contents of a slot to an empty slot."""
        ...

    def release(self, slot: int) -> None:
        """Empties a slot."""
        ...
