"""Samples outputs of a matcher: a random walk of some length, then towards the nearest end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from testing.endings import Endings

_MAX_TOKENS = 1500


@dataclass(frozen=True, slots=True)
class Output:
    """One output, and how it came to its end."""

    ended: Literal["finished", "died", "truncated"]
    text: str


class OutputSampler:
    """Samples for one vocabulary."""

    def __init__(self, tokenizer: LLTokenizer, eos_token_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos_token_ids = eos_token_ids
        self._tokens = [tokenizer.decode_bytes([token_id]) for token_id in range(tokenizer.vocab_size)]
        self._endings = Endings(self._tokens, eos_token_ids)

    def sample(self, matcher: LLMatcher, *, seed: int, walk: int) -> Output:
        """Samples `walk` tokens of those allowed, each equally likely; then prefers tokens that end what is open."""
        random = np.random.default_rng(seed)
        text = b""
        for position in range(_MAX_TOKENS):
            if matcher.is_stopped():
                break
            mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
            if matcher.is_error() or not len(allowed):
                return _output("died", text)
            if position >= walk:
                allowed = self._endings.nearest(allowed, text, random)
            token_id = int(random.choice(allowed))
            if token_id in self._eos_token_ids:
                return _output("finished", text)
            matcher.consume_token(token_id)
            text += self._tokens[token_id]
        if matcher.is_error():
            return _output("died", text)
        return _output("finished" if matcher.is_stopped() else "truncated", text)


def _output(ended: Literal["finished", "died", "truncated"], text: bytes) -> Output:
    return Output(ended, text.decode(errors="replace"))
