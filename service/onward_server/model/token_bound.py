"""How few tokens a text can have, by the parts of tokenizer.json; it encodes nothing.

A token stands for no more bytes than the longest entry of the vocabulary. So a text has no fewer tokens than its bytes
hold that length, once those are left out that may cost no token: bytes that the vocabulary cannot spell, and white
space where an added token swallows it.

Composition (NFC) takes bytes away. No character decomposes into more than 3/2 as many code points as it has bytes, so
there code points are counted, by their first bytes, and a token stands for 3/2 of its bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from onward_server.model.token_bytes import BYTE_OF_CHARACTER

_SPACE_MARK = "\u2581"
_CONTINUATION_BYTES = frozenset(range(0x80, 0xC0))
_CODE_POINTS_A_BYTE = Fraction(3, 2)
"""Of composed text, at most: three for U+0390, which has two bytes."""
_NORMAL_GROWTH = 3
"""Times as many bytes as before, at most, by NFC or by a space mark put before."""

_State = Mapping[str, Any]


class TokenBound:
    """A lower bound of the number of a text's tokens; no bound for kinds of tokenizers that may drop text."""

    def __init__(self, tokenizer: _State) -> None:
        """Takes the tokenizer.json."""
        self._uncounted = b""
        self._longest: Fraction | None = None
        """Counted bytes that one token stands for, at most."""
        normalizers = list(_steps(tokenizer["normalizer"]))
        splitters = list(_steps(tokenizer["pre_tokenizer"]))
        if not (_spells_text(tokenizer["model"]) and all(map(_keeps_text, [*normalizers, *splitters]))):
            return
        is_composed = any(step["type"] == "NFC" for step in normalizers)
        is_byte_level = any(step["type"] == "ByteLevel" for step in splitters)
        missing = _missing_bytes(tokenizer["model"], is_byte_level=is_byte_level)
        if missing and (is_composed or not is_byte_level):
            return
        uncounted = {*missing, *_swallowed_bytes(tokenizer["added_tokens"]), *_SPACE_MARK.encode()}
        self._uncounted = bytes(uncounted | _CONTINUATION_BYTES if is_composed else uncounted)
        longest = max(_lengths(tokenizer, is_byte_level=is_byte_level), default=1)
        self._longest = longest * (_CODE_POINTS_A_BYTE if is_composed else Fraction(1))

    def __call__(self, text: str) -> int:
        """Tokens that encoding makes of a text, at least; 0 without a bound. Costs a copy of the text."""
        if self._longest is None:
            return 0
        return int(len(text.encode().translate(None, self._uncounted)) / self._longest)


def _steps(config: _State | None) -> Iterator[_State]:
    """The steps of a normaliser or pre-tokenizer, out of their sequences."""
    if config is None:
        return
    if config["type"] != "Sequence":
        yield config
        return
    for step in config["normalizers" if "normalizers" in config else "pretokenizers"]:
        yield from _steps(step)


def _spells_text(model: _State) -> bool:
    """Whether every token of the model stands for its own text: not for an unknown word, nor a part of one."""
    return model["type"] == "BPE" and not model["continuing_subword_prefix"] and not model["end_of_word_suffix"]


def _keeps_text(step: _State) -> bool:
    """Whether a normaliser or pre-tokenizer is known to drop no text, but for what NFC composes."""
    match step:
        case {"type": "NFC" | "ByteLevel" | "Digits"}:
            return True
        case {"type": "Prepend", "prepend": mark} | {"type": "Metaspace", "replacement": mark}:
            return mark == _SPACE_MARK
        case {"type": "Replace", "pattern": {"String": " "}, "content": content}:
            return content == _SPACE_MARK
        case {"type": "Split" | "Punctuation", "behavior": behavior}:
            return behavior != "Removed"
        case _:
            return False


def _missing_bytes(model: _State, *, is_byte_level: bool) -> set[int]:
    """Bytes without a token of their own, which encoding drops, or takes together as an unknown."""
    if is_byte_level:
        return {byte for character, byte in BYTE_OF_CHARACTER.items() if character not in model["vocab"]}
    if model["byte_fallback"]:
        return {byte for byte in range(256) if f"<0x{byte:02X}>" not in model["vocab"]}
    return set(range(256))


def _swallowed_bytes(added_tokens: Sequence[_State]) -> set[int]:
    if not any(token["lstrip"] or token["rstrip"] for token in added_tokens):
        return set()
    return {byte for code in range(0x3001) if chr(code).isspace() for byte in chr(code).encode()}


def _lengths(tokenizer: _State, *, is_byte_level: bool) -> Iterator[int]:
    """Bytes that each token stands for at most."""
    for token in tokenizer["model"]["vocab"]:
        yield len(token) if is_byte_level else len(token.replace(_SPACE_MARK, " ").encode())
    for token in tokenizer["added_tokens"]:
        yield len(token["content"].encode()) * (_NORMAL_GROWTH if token["normalized"] else 1)
