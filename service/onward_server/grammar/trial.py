"""Tries grammars out before they are used: whether anything matches, and whether every step is cheap."""

from collections.abc import Callable
from zlib import crc32

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

_LIMITS = LLParserLimits(
    max_items_in_row=5000, step_lexer_fuel=200_000, step_max_items=50_000, max_lexer_states=50_000, verbose_errors=False
)
"""A tenth of the limits that apply during generation, so that real outputs stay well below those."""

Tokens = npt.NDArray[np.intp]  # (n,), ids of allowed tokens


class Trial:
    """Tries grammars out for one tokenizer."""

    def __init__(self, tokenizer: LLTokenizer, eos_token_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos_token_ids = sorted(eos_token_ids)
        self._lengths: npt.NDArray[np.intp] | None = None

    def error(self, matcher: LLMatcher, num_tokens: int) -> str:
        """The error of a new matcher within its first tokens; empty: none, and the matcher is at its start again."""
        mask = matcher.compute_bitmask()
        for _ in range(num_tokens):
            if matcher.is_stopped():
                break
            allowed = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
            matcher.consume_token(int(allowed.argmax()))
            mask = matcher.compute_bitmask()
        if not (error := matcher.get_error()) and num_tokens:
            matcher.reset()
        return error

    def is_costly(self, grammar: str, num_tokens: int) -> bool:
        """Whether an output of random tokens, or one made of the longest allowed tokens, hits the trial limits."""
        random = np.random.default_rng(crc32(grammar.encode()))
        return self._meets_limit(grammar, num_tokens, lambda ids: int(random.choice(ids))) or (
            self._meets_limit(grammar, num_tokens, self._longest)
        )

    def _meets_limit(self, grammar: str, num_tokens: int, choose: Callable[[Tokens], int]) -> bool:
        matcher = LLMatcher(self._tokenizer, grammar, limits=_LIMITS, log_level=0)
        for _ in range(num_tokens):
            allowed = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            if matcher.is_stopped():
                break
            allowed[self._eos_token_ids] = 0
            ids = np.flatnonzero(allowed)
            if not len(ids):
                break
            matcher.consume_token(choose(ids))
        return "lexer error" in matcher.get_error()

    def _longest(self, ids: Tokens) -> int:
        if self._lengths is None:
            decode, size = self._tokenizer.decode_bytes, self._tokenizer.vocab_size
            self._lengths = np.array([len(decode([token_id])) for token_id in range(size)])
        return int(ids[self._lengths[ids].argmax()])
