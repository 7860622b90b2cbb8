"""Masks of the sequences that are constrained, filled while the model runs; it does not know what a constraint says."""

from collections.abc import Iterable
from concurrent.futures import Future

from onward_server.engine.sequence import Sequence
from onward_server.grammar.matcher import Mask, MaskFiller, allocate_masks


class MaskRows:
    """One row a slot."""

    def __init__(self, *, num_slots: int, vocabulary_size: int, num_threads: int) -> None:
        self._masks = allocate_masks(num_slots, vocabulary_size)
        self._filler = MaskFiller(num_threads)
        self._filling: Future[None] | None = None

    def start(self, sequences: Iterable[Sequence]) -> None:
        """Begins to fill the rows of those that draw their next token under a constraint; `wait` must follow."""
        rows = [
            (sequence.matcher, sequence.slot)
            for sequence in sequences
            if sequence.matcher is not None and sequence.slot is not None and not sequence.forced_ids
        ]
        self._filling = self._filler.start(rows, self._masks) if rows else None

    def wait(self) -> None:
        """Returns when the rows are filled."""
        if self._filling is not None:
            self._filling.result()
            self._filling = None

    def close(self) -> None:
        """Ends the threads."""
        self._filler.close()

    def row_of(self, sequence: Sequence) -> Mask | None:
        """What a sequence may draw; None: anything.

        Raises:
            InvalidRequest: its constraint allows nothing more, or is too costly.
        """
        if sequence.matcher is None or sequence.slot is None:
            return None
        sequence.matcher.check()
        return self._masks[sequence.slot]
