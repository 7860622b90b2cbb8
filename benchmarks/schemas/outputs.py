"""Samples outputs of a matcher: a random walk of some length, then toward the nearest end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from testing.endings import Endings

_MAX_TOKENS = 12_000
_SHARE_OF_ENDINGS = 0.2


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

    def sample(self, matcher: LLMatcher, *, seed: int, walk: int, endings: Sequence[str]) -> Output:
        """Samples `walk` tokens of those allowed, each equally likely; then prefers tokens that end what is open.

        `endings`: what strings may end in, for patterns that random text would hardly ever match.
        """
        phrases = [self._tokenizer.tokenize_str(ending) for ending in endings]
        phrase: list[int] = []
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
            if position >= walk and phrases and not phrase and random.random() < _SHARE_OF_ENDINGS:
                phrase = list(phrases[int(random.integers(len(phrases)))])
            if phrase and mask[phrase[0] // 8] >> phrase[0] % 8 & 1 and allowed[0] not in self._eos_token_ids:
                token_id = phrase.pop(0)
            else:
                phrase, token_id = [], int(random.choice(allowed))
            if token_id in self._eos_token_ids:
                return _output("finished", text)
            matcher.consume_token(token_id)
            text += self._tokens[token_id]
        if matcher.is_error():
            return _output("died", text)
        return _output("finished" if matcher.is_stopped() else "truncated", text)


def _output(ended: Literal["finished", "died", "truncated"], text: bytes) -> Output:
    return Output(ended, text.decode(errors="replace"))
