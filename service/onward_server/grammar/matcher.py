"""Follows one sequence through its grammar and masks the tokens that may come next.

    fill ─▶ sample within the mask ─▶ accept ─▶ … ─▶ is_complete, or the end-of-sequence token where `may_end`

A mask allows the end-of-sequence tokens exactly where the output may end. They end it and are never accepted. A mask
allows other control tokens only where the literals around tool calls or reasoning contain them.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
from llguidance import LLExecutor, LLMatcher

from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.number_limits import NumberGuard
from onward_server.panics import is_panic

Masks = npt.NDArray[np.int32]  # (slots, ceil(V / 32)), C-contiguous; bit i of word w is token 32 w + i, 1: allowed
Mask = npt.NDArray[np.int32]  # (ceil(V / 32),), one row of Masks

REPLAYED_TOKENS = 256
"""How many tokens a replay consumes after computing a mask, which resets llguidance's lexer budget."""


class GrammarMatcher:
    """The state of one sequence in its grammar; used by one thread at a time.

    The native matcher keeps every lexer state that it creates, up to a limit. At the limit, a new matcher replays the
    tokens and replaces it, so that a long output neither fills the memory nor fails.

    Every method may raise InvalidRequest: the constraint is not satisfied but allows no further token, one step costs
    more than the limits allow, or the library panicked. The output then cannot continue.
    """

    def __init__(
        self, matcher: LLMatcher, renew: Callable[[], LLMatcher], field: str, numbers: NumberGuard | None = None
    ) -> None:
        """`renew` makes a new native matcher; `field` is the path of the constraint in the request.

        `numbers` bounds the numbers of JSON; None: the constraint is not JSON.
        """
        self._matcher = matcher
        self._renew = renew
        self._field = field
        self._numbers = numbers
        self._token_ids: list[int] = []
        self._renewed_at = 0
        self._has_panicked = False

    @property
    def is_complete(self) -> bool:
        """Whether the output satisfies the constraint and no further token is allowed."""
        with self._recorded_panics():
            self._check()
            return self._matcher.is_stopped()

    @property
    def may_end(self) -> bool:
        """Whether the output satisfies the constraint."""
        with self._recorded_panics():
            may_end = self._matcher.is_accepting()
            self._check()
            return may_end

    def accept(self, token_id: int) -> None:
        """Appends a token that the mask allows; never an end-of-sequence token."""
        self._token_ids.append(token_id)
        with self._recorded_panics():
            if not self._matcher.consume_token(token_id):
                self._replace()
            self._check()
        if self._numbers is not None:
            self._numbers.accept(token_id)

    def forced_tokens(self) -> list[int]:
        """The tokens that must come next, up to the first position where several are allowed; does not accept them."""
        with self._recorded_panics():
            token_ids = self._matcher.compute_ff_tokens()
            self._check()
            return token_ids

    def fill(self, mask: Mask) -> None:
        """Writes which tokens may come next; only end-of-sequence tokens where `is_complete`."""
        if not (mask.flags.c_contiguous and mask.dtype == np.int32):
            raise ValueError(f"a mask must be a contiguous row of int32, not of {mask.dtype}")
        with self._recorded_panics():
            self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
            self.mend(mask)
            self._check()

    def mend(self, mask: Mask) -> None:
        """Refills a row if the native matcher hit a limit while filling it, and bounds numbers."""
        if self._matcher.is_error() and self._replace():
            self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        if self._numbers is not None:
            self._numbers.restrict(mask)

    def check(self) -> None:
        """Raises InvalidRequest if the native matcher has failed."""
        with self._recorded_panics():
            self._check()

    @property
    def native(self) -> LLMatcher:
        """The native matcher, for `MaskFiller`."""
        return self._matcher

    @contextmanager
    def _recorded_panics(self) -> Generator[None]:
        """Records a panic of the block: `_check` raises because of it, now and from then on."""
        try:
            yield
        except BaseException as error:
            if not is_panic(error):
                raise
            self._has_panicked = True
            self._check()

    def _check(self) -> None:
        if self._has_panicked:
            raise self._failure("the library that enforces the constraint failed on it")
        if self._matcher.is_error():
            raise self._failure(
                "the constraint is not satisfied but allows no further token, or matching it is too costly"
            )

    def _failure(self, description: str) -> InvalidRequest:
        return InvalidRequest.of(self._field, description, InvalidReason.INVALID_RESPONSE_FORMAT)

    def _replace(self) -> bool:
        """Replaces a matcher that has hit its lexer limit, at most once per token; returns whether it did."""
        if "lexer error" not in self._matcher.get_error() or self._renewed_at == len(self._token_ids):
            return False
        self._renewed_at = len(self._token_ids)
        self._matcher = self._renew()
        for start in range(0, len(self._token_ids), REPLAYED_TOKENS):
            self._matcher.compute_bitmask()
            self._matcher.consume_tokens(self._token_ids[start : start + REPLAYED_TOKENS])
        return True


class MaskFiller:
    """Fills the masks of several sequences in parallel, in the background; owns its threads."""

    def __init__(self, num_threads: int) -> None:
        self._executor = LLExecutor(num_threads)
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")

    def start(self, rows: Sequence[tuple[GrammarMatcher, int]], masks: Masks) -> Future[None]:
        """Starts filling the row of each matcher; do not use the matchers or the masks until the future is done.

        The error of one matcher is raised by its `check`; the other rows are filled regardless.
        """
        return self._background.submit(self.fill, rows, masks)

    def fill(self, rows: Sequence[tuple[GrammarMatcher, int]], masks: Masks) -> None:
        """Fills the row of each matcher; returns when all are filled."""
        if not (masks.flags.c_contiguous and masks.dtype == np.int32):
            raise ValueError(f"masks must be a contiguous array of int32, not of {masks.dtype}")
        num_rows, num_words = masks.shape
        natives = [(matcher.native, row) for matcher, row in rows]
        try:
            self._executor.unsafe_compute_mask_ptr(natives, masks.ctypes.data, num_words * 4, num_rows)
            for matcher, row in rows:
                matcher.mend(masks[row])
        except BaseException as error:
            if not is_panic(error):
                raise
            for matcher, row in rows:  # one by one, to find the matcher that panics
                with suppress(InvalidRequest):
                    matcher.fill(masks[row])

    def close(self) -> None:
        """Stops the threads."""
        self._background.shutdown()


def allocate_masks(num_slots: int, vocabulary_size: int) -> Masks:
    """Masks that allow every token."""
    return np.full((num_slots, -(-vocabulary_size // 32)), -1, np.int32)


def apply_mask(scores: npt.NDArray[np.float32], mask: Mask) -> None:
    """Sets the scores of the tokens that a mask does not allow to -inf, in place.

    `scores` may be shorter than the mask; token ids beyond it cannot be sampled.
    """
    allowed = np.unpackbits(mask.view(np.uint8), count=len(scores), bitorder="little")
    np.copyto(scores, -np.inf, where=allowed == 0)
