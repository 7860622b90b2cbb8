"""Samples outputs of a matcher: a random walk of some length, then towards the nearest end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLTokenizer

_MAX_TOKENS = 1500
_SHARE_OF_CLOSERS = 0.75
"""Else any single byte: where a pattern wants a certain one, closers alone would never get to it."""
_CLOSERS_IN_STRING, _CLOSERS = (b'"',), (b"}", b"]", b'"', *(b"%d" % digit for digit in range(10)))
_QUOTE = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)
_LETTER, _OTHER, _BACKSLASH, _LONG = 20, 30, 40, 100


@dataclass(frozen=True, slots=True)
class Output:
    """What became of one output."""

    ended: Literal["finished", "died", "truncated"]
    text: str


class OutputSampler:
    """Samples for one vocabulary."""

    def __init__(self, tokenizer: LLTokenizer, eos_token_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos_token_ids = eos_token_ids
        self._tokens = [tokenizer.decode_bytes([token_id]) for token_id in range(tokenizer.vocab_size)]
        ranks = [self._ranks(_CLOSERS), self._ranks(_CLOSERS_IN_STRING)]
        self._rank_of = np.array(ranks)  # (2, V): outside a string, inside

    def sample(self, matcher: LLMatcher, *, seed: int, walk: int) -> Output:
        """Samples `walk` tokens of those allowed, each as likely; then prefers tokens that end what is open."""
        random = np.random.default_rng(seed)
        token_ids: list[int] = []
        text = b""
        while len(token_ids) < _MAX_TOKENS:
            if matcher.is_stopped():
                break
            mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
            if matcher.is_error() or not len(allowed):
                return Output("died", self._tokenizer.decode_str(token_ids))
            if len(token_ids) >= walk:
                allowed = self._towards_end(allowed, random, is_in_string=_is_in_string(text))
            token_id = int(random.choice(allowed))
            if token_id in self._eos_token_ids:
                return Output("finished", self._tokenizer.decode_str(token_ids))
            matcher.consume_token(token_id)
            token_ids.append(token_id)
            text += self._tokens[token_id]
        if matcher.is_error():
            return Output("died", self._tokenizer.decode_str(token_ids))
        return Output("finished" if matcher.is_stopped() else "truncated", self._tokenizer.decode_str(token_ids))

    def _towards_end(
        self, allowed: npt.NDArray[np.intp], random: np.random.Generator, *, is_in_string: bool
    ) -> npt.NDArray[np.intp]:
        """Those of the allowed tokens that lead to an end soonest, or now and then all single bytes."""
        ranks = self._rank_of[int(is_in_string)][allowed]
        limit = int(ranks.min()) if random.random() < _SHARE_OF_CLOSERS else max(int(ranks.min()), _OTHER)
        return allowed[ranks <= limit]

    def _ranks(self, closers: Sequence[bytes]) -> list[int]:
        """How far each token leads from the end: 0 ends the output."""
        return [
            0 if token_id in self._eos_token_ids else _rank(token, closers)
            for token_id, token in enumerate(self._tokens)
        ]


def _rank(token: bytes, closers: Sequence[bytes]) -> int:
    if token in closers:
        return 1 + closers.index(token)
    if len(token) != 1:
        return _LONG + len(token)
    if token.isalpha():
        return _LETTER
    return _BACKSLASH if token == b"\\" or token.isspace() else _OTHER


def _is_in_string(text: bytes) -> bool:
    """Whether JSON that was begun stands within a string."""
    return len(_QUOTE.findall(text)) % 2 == 1
