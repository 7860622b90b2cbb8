"""The place of one sequence in its constraint, and masks of the tokens that may come next.

    fill ─▶ sample within the mask ─▶ accept ─▶ … ─▶ is_complete, or the end-of-sequence token where `may_end`

An end-of-sequence token is in the mask exactly where the output may end; it ends the output and is never accepted.
Other control tokens are in a mask only where the literals around tool calls or thinking ask for them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from llguidance import LLExecutor, LLMatcher

from onward_server.errors import InvalidReason, InvalidRequest

Masks = npt.NDArray[np.int32]  # (slots, ceil(V / 32)), C-contiguous; bit i of word w is token 32 w + i, 1 is allowed
Mask = npt.NDArray[np.int32]  # (ceil(V / 32),), one row of it

_REPLAYED_TOKENS = 256
"""Tokens that one budget of the lexer suffices for; computing a mask grants the next one."""


class GrammarMatcher:
    """One sequence's place in a constraint; used by one thread at a time.

    The native matcher keeps every lexer state that it finds, up to a limit. At the limit it is replaced by a new one
    that is led to the same place, so that a long output neither fills the memory nor ends for that reason.

    Every method may raise InvalidRequest: the constraint allows no further token though it is not fulfilled, or one
    step costs more than the limits allow. The output cannot go on then.
    """

    def __init__(self, matcher: LLMatcher, renew: Callable[[], LLMatcher], field: str) -> None:
        """`renew`: makes another matcher at the start. `field`: path of the constraint in the request."""
        self._matcher = matcher
        self._renew = renew
        self._field = field
        self._token_ids: list[int] = []
        self._renewed_at = 0

    @property
    def is_complete(self) -> bool:
        """Whether the constraint is fulfilled and allows no further token."""
        self.check()
        return self._matcher.is_stopped()

    @property
    def may_end(self) -> bool:
        """Whether the constraint is fulfilled."""
        may_end = self._matcher.is_accepting()
        self.check()
        return may_end

    def accept(self, token_id: int) -> None:
        """Takes a token that the mask allows, end-of-sequence aside."""
        self._token_ids.append(token_id)
        if not self._matcher.consume_token(token_id):
            self._replace()
        self.check()

    def forced_tokens(self) -> list[int]:
        """The tokens that must come next, as far as there is no choice; none of them is accepted by this."""
        token_ids = self._matcher.compute_ff_tokens()
        self.check()
        return token_ids

    def fill(self, mask: Mask) -> None:
        """Writes which tokens may come next; where `is_complete`, only those that end the sequence."""
        if not (mask.flags.c_contiguous and mask.dtype == np.int32):
            raise ValueError("a mask is a contiguous row of int32")
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        self.mend(mask)
        self.check()

    def mend(self, mask: Mask) -> None:
        """Fills a row again whose filling has met a limit of the native matcher."""
        if self._matcher.is_error() and self._replace():
            self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)

    def check(self) -> None:
        """Raises the error that `MaskFiller` met, if any."""
        if self._matcher.is_error():
            raise InvalidRequest.of(
                self._field,
                "the constraint allows no further token though it is not fulfilled, or is too costly to follow",
                InvalidReason.INVALID_RESPONSE_FORMAT,
            )

    @property
    def native(self) -> LLMatcher:
        """The matcher that `MaskFiller` works on."""
        return self._matcher

    def _replace(self) -> bool:
        """Replaces a matcher that has met a limit of its lexer, once at each place."""
        if "lexer error" not in self._matcher.get_error() or self._renewed_at == len(self._token_ids):
            return False
        self._renewed_at = len(self._token_ids)
        self._matcher = self._renew()
        for start in range(0, len(self._token_ids), _REPLAYED_TOKENS):
            self._matcher.compute_bitmask()
            self._matcher.consume_tokens(self._token_ids[start : start + _REPLAYED_TOKENS])
        return True


class MaskFiller:
    """Fills several rows of masks at once, while its caller does something else; owns its threads."""

    def __init__(self, num_threads: int) -> None:
        self._executor = LLExecutor(num_threads)
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")

    def start(self, rows: Sequence[tuple[GrammarMatcher, int]], masks: Masks) -> Future[None]:
        """Begins to write the row of each matcher; neither may be touched until the result is there.

        An error of one matcher is raised by its `check`; the other rows are filled all the same.
        """
        return self._background.submit(self.fill, rows, masks)

    def fill(self, rows: Sequence[tuple[GrammarMatcher, int]], masks: Masks) -> None:
        """Does the same at once."""
        if not (masks.flags.c_contiguous and masks.dtype == np.int32):
            raise ValueError("masks are a contiguous array of int32")
        num_rows, num_words = masks.shape
        natives = [(matcher.native, row) for matcher, row in rows]
        self._executor.unsafe_compute_mask_ptr(natives, masks.ctypes.data, num_words * 4, num_rows)
        for matcher, row in rows:
            matcher.mend(masks[row])

    def close(self) -> None:
        """Ends its threads."""
        self._background.shutdown()


def allocate_masks(num_slots: int, vocabulary_size: int) -> Masks:
    """Rows that allow everything."""
    return np.full((num_slots, -(-vocabulary_size // 32)), -1, np.int32)


def apply_mask(scores: npt.NDArray[np.float32], mask: Mask) -> None:
    """Makes every token that a mask does not allow impossible, in place.

    `scores` may be shorter than the mask has bits: token ids from there on cannot be sampled.
    """
    allowed = np.unpackbits(mask.view(np.uint8), count=len(scores), bitorder="little")
    np.copyto(scores, -np.inf, where=allowed == 0)
