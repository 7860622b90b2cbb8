"""A lower bound of the number of tokens in a text, computed from the parts of tokenizer.json.

A token covers at most as many bytes as the longest vocabulary entry, so a text has at least (bytes / longest entry)
tokens. Bytes that encoding may drop are not counted: bytes that are missing from the vocabulary, and white space if an
added token strips it.

NFC composes several code points into one and so removes bytes. With NFC, the bound therefore counts code points (by
their first byte) instead of bytes. A character of b bytes decomposes into at most 3/2 b code points, so a token of b
bytes covers at most 3/2 b code points of the text.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from onward_server.model.token_bytes import BYTE_OF_CHARACTER

_SPACE_SYMBOL = "\u2581"
_CONTINUATION_BYTES = frozenset(range(0x80, 0xC0))
_CODE_POINTS_A_BYTE = Fraction(3, 2)
"""Maximum code points that one byte of composed text decomposes into: U+0390 has two bytes, three code points."""
_NORMAL_GROWTH = 3
"""Largest factor by which NFC or a prepended space symbol grows the bytes of a token."""

_State = Mapping[str, Any]


class TokenBound:
    """Lower bound of the number of tokens in a text; 0 for a tokenizer that may drop text."""

    def __init__(self, tokenizer: _State) -> None:
        """Takes the parsed tokenizer.json."""
        self._uncounted = b""
        self._longest: Fraction | None = None
        """Maximum number of counted bytes in one token; None: there is no bound."""
        normalizers = list(_steps(tokenizer["normalizer"]))
        splitters = list(_steps(tokenizer["pre_tokenizer"]))
        if not (_spells_text(tokenizer["model"]) and all(map(_keeps_text, [*normalizers, *splitters]))):
            return
        is_composed = any(step["type"] == "NFC" for step in normalizers)
        is_byte_level = any(step["type"] == "ByteLevel" for step in splitters)
        missing = _missing_bytes(tokenizer["model"], is_byte_level=is_byte_level)
        if missing and (is_composed or not is_byte_level):
            return
        uncounted = {*missing, *_stripped_bytes(tokenizer["added_tokens"]), *_SPACE_SYMBOL.encode()}
        self._uncounted = bytes(uncounted | _CONTINUATION_BYTES if is_composed else uncounted)
        longest = max(_lengths(tokenizer, is_byte_level=is_byte_level), default=1)
        self._longest = longest * (_CODE_POINTS_A_BYTE if is_composed else Fraction(1))

    def __call__(self, text: str) -> int:
        """Least number of tokens that encoding the text gives. Linear in the text, and copies it once."""
        if self._longest is None:
            return 0
        return int(len(text.encode().translate(None, self._uncounted)) / self._longest)


def _steps(config: _State | None) -> Iterator[_State]:
    """The steps of a normalizer or pre-tokenizer, with sequences flattened."""
    if config is None:
        return
    if config["type"] != "Sequence":
        yield config
        return
    for step in config["normalizers" if "normalizers" in config else "pretokenizers"]:
        yield from _steps(step)


def _spells_text(model: _State) -> bool:
    """Whether every token is a piece of the text: no unknown words, and no marks such as `##` on parts of words."""
    return model["type"] == "BPE" and not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]


def _keeps_text(step: _State) -> bool:
    """Whether a step of a normalizer or pre-tokenizer is known to drop no text, apart from NFC composition."""
    match step:
        case {"type": "NFC" | "ByteLevel" | "Digits"}:
            return True
        case {"type": "Prepend", "prepend": symbol} | {"type": "Metaspace", "replacement": symbol}:
            return symbol == _SPACE_SYMBOL
        case {"type": "Replace", "pattern": {"String": " "}, "content": content}:
            return content == _SPACE_SYMBOL
        case {"type": "Split" | "Punctuation", "behavior": behavior}:
            return behavior != "Removed"
        case _:
            return False


def _missing_bytes(model: _State, *, is_byte_level: bool) -> set[int]:
    """Bytes without a token of their own. Encoding drops them or joins them into one unknown token."""
    if is_byte_level:
        return {byte for character, byte in BYTE_OF_CHARACTER.items() if character not in model["vocab"]}
    if model["byte_fallback"]:
        return {byte for byte in range(256) if f"<0x{byte:02X}>" not in model["vocab"]}
    return set(range(256))


def _stripped_bytes(added_tokens: Sequence[_State]) -> set[int]:
    if not any(token["lstrip"] or token["rstrip"] for token in added_tokens):
        return set()
    return {byte for code in range(0x3001) if chr(code).isspace() for byte in chr(code).encode()}


def _lengths(tokenizer: _State, *, is_byte_level: bool) -> Iterator[int]:
    """The maximum number of bytes that each token covers."""
    for token in tokenizer["model"]["vocab"]:
        yield len(token) if is_byte_level else len(token.replace(_SPACE_SYMBOL, " ").encode())
    for token in tokenizer["added_tokens"]:
        yield len(token["content"].encode()) * (_NORMAL_GROWTH if token["normalized"] else 1)
