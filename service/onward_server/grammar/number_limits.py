"""Masks tokens that would make a number too large for a double; llguidance does not bound the numbers of JSON."""

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from llguidance import LLTokenizer

Mask = npt.NDArray[np.int32]  # (ceil(V / 32),); bit i of word w is token 32 w + i, 1: allowed

_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?")
_BEGUN_NUMBER = re.compile(rb"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+\-]?[0-9]*)?|-?)")
_WORD_AT_END = re.compile(rb'[\w.+\-"\x80-\xff]*\Z')
_CONTINUATION = re.compile(rb"[0-9.eE+\-]*[0-9]")
_DIGITS = re.compile(rb"\+?([0-9]+)")
_EXPONENT = re.compile(rb"-?(?P<mantissa>[0-9.]+)[eE]\+?(?P<exponent>[0-9]*)")
_LETTER = re.compile(rb"[A-DF-Za-df-z]")
_MANY_DIGITS = 200
_MAX_EXPONENT = 308
_LARGE = 10**9
"""More than any exponent that a double can have, whatever its mantissa here."""


class NumberLimits:
    """The tokens of one vocabulary that can be part of a number. Takes about 0.3 s for a vocabulary of 150,000."""

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self.tokens = [tokenizer.decode_bytes([token_id]) for token_id in range(tokenizer.vocab_size)]
        self.letters = np.zeros(-(-len(self.tokens) // 32) * 32, np.uint8)
        self.continuations: dict[bytes, list[int]] = {}
        """The tokens that can continue a number, by the characters that do."""
        digits: list[tuple[int, int, int]] = []
        self.too_large: list[int] = []
        """The tokens that contain a number that is too large."""
        for token_id, text in enumerate(self.tokens):
            if _LETTER.match(text):
                self.letters[token_id] = 1
            if match := _CONTINUATION.match(text):
                self.continuations.setdefault(match[0], []).append(token_id)
            if match := _DIGITS.match(text):
                digits.append((token_id, 10 ** min(len(match[1]), 9), min(int(match[1]), _LARGE)))
            if any(map(_is_too_large, _NUMBER.findall(text))):
                self.too_large.append(token_id)
        self.letters = np.packbits(self.letters, bitorder="little").view(np.int32)
        self.digits = np.array(digits, np.int64).reshape(-1, 3).T
        """Of each token that can continue an exponent: its id, the factor by which its digits raise the exponent, and
        their value."""
        self.exponents = {text: ids for text, ids in self.continuations.items() if re.search(rb"[eE](?!-)", text)}


class NumberGuard:
    """Follows one output and keeps the number that it ends with from becoming too large.

    A number can end wherever it can grow, so a mask never becomes empty. Text that only looks like a number, such as a
    part of a string, may grow where a letter is allowed as well or where nothing else is.
    """

    def __init__(self, limits: NumberLimits, begin: bytes = b"") -> None:
        """`begin`: the text that the output continues."""
        self._limits = limits
        self._number: bytes | None = b""
        self._append(begin)

    def accept(self, token_id: int) -> None:
        """Appends a token to the output."""
        self._append(self._limits.tokens[token_id])

    def restrict(self, mask: Mask) -> None:
        """Removes the tokens that would make a number too large from a mask, in place."""
        banned = self._limits.too_large
        if self._number and not (mask & self._limits.letters).any():
            banned = [*banned, *self._too_large(self._number)]
        if not banned:
            return
        allowed = np.unpackbits(mask.view(np.uint8), bitorder="little")
        allowed[banned] = 0
        if allowed.any():
            mask[:] = np.packbits(allowed, bitorder="little").view(np.int32)

    def _too_large(self, number: bytes) -> Sequence[int]:
        """The tokens that would make a number too large; none if it already is, because then it is part of a text."""
        if _is_too_large(number):
            return ()
        if match := _EXPONENT.fullmatch(number):
            ids, factors, values = self._limits.digits
            exponents = min(int(match["exponent"] or 0), _LARGE) * factors + values
            too_large: list[int] = ids[exponents > _max_exponent(match["mantissa"])].tolist()
            return too_large
        tokens = self._limits.continuations if len(number) > _MANY_DIGITS else self._limits.exponents
        return [id_ for text, ids in tokens.items() if _is_too_large(number + text) for id_ in ids]

    def _append(self, text: bytes) -> None:
        word = _WORD_AT_END.search(text)
        assert word, "an empty word matches everywhere"
        begun = None if self._number is None and word.start() == 0 else word[0]
        if begun is not None and word.start() == 0:
            begun = (self._number or b"") + begun
        self._number = begun if begun is not None and _BEGUN_NUMBER.fullmatch(begun) else None


def _max_exponent(mantissa: bytes) -> int:
    """The largest exponent with which a number fits a double."""
    if not mantissa.strip(b"0."):
        return _LARGE
    value = float(mantissa)
    exponent = _MAX_EXPONENT + 1 - math.floor(math.log10(value)) if value else _MAX_EXPONENT
    while math.isinf(float(b"%be%d" % (mantissa, exponent))):
        exponent -= 1
    return exponent


def _is_too_large(text: bytes) -> bool:
    """Whether the number that a text begins with is too large."""
    number = _NUMBER.match(text)
    return number is not None and math.isinf(float(number[0]))
