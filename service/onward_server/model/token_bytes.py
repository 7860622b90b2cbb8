"""The bytes of each vocabulary entry, according to the `decoder` section of tokenizer.json."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class UnsupportedDecoder(Exception):
    """The decoder has a step that is unknown, or in which the bytes of a token depend on its neighbors."""


class TokenDecoder:
    """Turns single vocabulary entries into bytes.

    `has_space_before_text` is true if encoding prepends a space to a text, which decoding then removes.
    """

    def __init__(self, config: Mapping[str, object] | None) -> None:
        """Takes the `decoder` section; without one, words are joined by spaces, as Hugging Face does.

        Raises:
            UnsupportedDecoder: A step is not supported.
        """
        self.has_space_before_text = config is None
        self._prefix = " " if config is None else ""
        self._is_byte_level = self._has_byte_fallback = False
        self._replacements: list[tuple[str, str]] = []
        for step in _steps(config):
            self._add(step)

    def bytes_of(self, token: str) -> bytes:
        """The bytes of an entry of the model's own vocabulary."""
        if self._is_byte_level:
            return _byte_level_bytes(token)
        if self._has_byte_fallback and (match := _BYTE_FALLBACK.fullmatch(token)):
            return bytes([int(match[1], 16)])
        for pattern, content in self._replacements:
            token = token.replace(pattern, content)
        return (self._prefix + token).encode()

    def added_bytes(self, token: str, *, special: bool) -> bytes:
        """The bytes of an added token: its text. U+2581 means a space there, unless the token is special."""
        return token.encode() if special or self._is_byte_level else self.bytes_of(token)

    def _add(self, step: Mapping[str, object]) -> None:
        match step:
            case {"type": "ByteLevel"}:
                self._is_byte_level = True
            case {"type": "ByteFallback"}:
                self._has_byte_fallback = True
            case {"type": "Fuse"}:
                pass
            case {"type": "Replace", "pattern": {"String": str(pattern)}, "content": str(content)}:
                self._replacements.append((pattern, content))
            case {"type": "Strip", "content": " ", "start": 0 | 1 as start, "stop": 0}:
                self.has_space_before_text = start == 1
            case {"type": "Metaspace", "replacement": str(replacement)}:
                self._replacements.append((replacement, " "))
                prefixes = (step.get("prepend_scheme") != "never", step.get("add_prefix_space") is not False)
                self.has_space_before_text = all(prefixes)
            case _:
                raise UnsupportedDecoder(json.dumps(step))


def _steps(config: Mapping[str, object] | None) -> Iterator[Mapping[str, object]]:
    if config is None:
        return
    if config.get("type") != "Sequence":
        yield config
        return
    for step in cast(list[Mapping[str, object]], config["decoders"]):
        yield from _steps(step)


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:  # not written in the byte alphabet, so the entry is plain text
        return token.encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 characters map to themselves, other bytes to characters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_alphabet()
"""The byte of each character in a byte-level vocabulary."""
