"""Masks of allowed tokens for constrained sequences, filled while the model runs."""

from collections.abc import Iterable
from concurrent.futures import Future

from onward_server.engine.sequence import Sequence
from onward_server.grammar.matcher import Mask, MaskFiller, allocate_masks


class MaskRows:
    """One mask for each slot, filled by threads that `onward_server.grammar` owns."""

    def __init__(self, *, num_slots: int, vocabulary_size: int, num_threads: int) -> None:
        self._masks = allocate_masks(num_slots, vocabulary_size)
        self._filler = MaskFiller(num_threads)
        self._filling: Future[None] | None = None

    def start(self, sequences: Iterable[Sequence]) -> None:
        """Starts filling the masks of the sequences that sample under a constraint; call `wait` afterwards."""
        rows = [
            (sequence.matcher, sequence.slot)
            for sequence in sequences
            if sequence.matcher is not None and sequence.slot is not None and not sequence.forced_ids
        ]
        self._filling = self._filler.start(rows, self._masks) if rows else None

    def wait(self) -> None:
        """Returns once the masks are filled; at once if none are being filled."""
        if self._filling is not None:
            self._filling.result()
            self._filling = None

    def close(self) -> None:
        """Stops the threads."""
        self._filler.close()

    def row_of(self, sequence: Sequence) -> Mask | None:
        """The tokens that a sequence may sample next; None: any token.

        Raises:
            InvalidRequest: The constraint allows no further token, or is too costly to match.
        """
        if sequence.matcher is None or sequence.slot is None:
            return None
        sequence.matcher.check()
        return self._masks[sequence.slot]
