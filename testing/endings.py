"""Picks tokens that end an output soon, so that random outputs finish whatever their constraint."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.intp]  # (N,), the allowed ones, ascending

_CLOSERS, _CLOSERS_IN_STRING = (b"}", b"]", b"/", b'"', *(b"%d" % digit for digit in range(10))), (b'"',)
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_LETTER, _OTHER, _BACKSLASH, _LONG = 20, 30, 40, 100
_SHARE_OF_CLOSERS = 0.75
"""Else any single byte: where a pattern wants a certain one, closers alone would never reach it."""


class Endings:
    """Knows which tokens of a vocabulary lead to the end of a text, above all of one in JSON."""

    def __init__(self, tokens: Sequence[bytes], eos_token_ids: frozenset[int]) -> None:
        """`tokens`: the bytes of each token; control tokens may have any."""
        ranks = [
            [0 if token_id in eos_token_ids else _rank(token, closers) for token_id, token in enumerate(tokens)]
            for closers in (_CLOSERS, _CLOSERS_IN_STRING)
        ]
        self._ranks = np.array(ranks)  # (2, V): outside a string of JSON, inside

    def nearest(self, allowed: TokenIds, text: bytes, random: np.random.Generator) -> TokenIds:
        """The allowed tokens that lead from a text to its end soonest; now and then all single bytes."""
        is_in_string = _ESCAPE.sub(b"", text).count(b'"') % 2
        ranks = self._ranks[is_in_string][allowed]
        limit = int(ranks.min())
        if limit and random.random() >= _SHARE_OF_CLOSERS:
            limit = max(limit, _OTHER)
        return allowed[ranks <= limit]


def _rank(token: bytes, closers: Sequence[bytes]) -> int:
    if token in closers:
        return 1 + closers.index(token)
    if len(token) != 1:
        return _LONG + len(token)
    if token.isalpha():
        return _LETTER
    return _BACKSLASH if token == b"\\" or token.isspace() else _OTHER
