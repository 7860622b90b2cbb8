"""Bounds how much longer a text can become in the steps of a tokenizer, before the library runs them."""

import base64
import binascii
from collections.abc import Iterator
from typing import cast

from onward_server.json_value import Json

_MAX_GROWTH = 64
"""NFKC, which many compiled maps apply, makes 18 characters of one; a space symbol is one character for one."""
_MAX_PREPENDED = 64
_MAX_STEPS = 256
"""Each step may prepend so many characters, and passes over the whole text."""
_MAX_PIECES = 64
_MAX_INSERTED = 4096


def growth_faults(state: dict[str, Json]) -> Iterator[str]:
    """Says which parts of a tokenizer.json make texts too long."""
    for part, steps_key in (
        ("normalizer", "normalizers"),
        ("pre_tokenizer", "pretokenizers"),
        ("decoder", "decoders"),
    ):
        growth = 1
        for index, step in enumerate(_steps(state.get(part), steps_key)):
            growth *= _growth(step)
            if growth > _MAX_GROWTH:
                yield f"its {part} can make a text more than {_MAX_GROWTH} times as long"
                break
            if index >= _MAX_STEPS:
                yield f"its {part} has more than {_MAX_STEPS} steps"
                break
    yield from _template_faults(state.get("post_processor"))


def charsmap_of(step: Json) -> bytes | None:
    """The compiled map of SentencePiece in a step of a normalizer; None for another step.

    Raises:
        ValueError: The map is not base64, or truncated.
    """
    match step:
        case {"type": "Precompiled", "precompiled_charsmap": str(encoded)}:
            try:
                charsmap = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("a precompiled_charsmap that is not base64") from None
            if len(charsmap) < 4 or _trie_bytes(charsmap) > len(charsmap) - 4:
                raise ValueError(f"a precompiled_charsmap of {len(charsmap)} bytes, which is truncated")
            return charsmap
        case _:
            return None


def _trie_bytes(charsmap: bytes) -> int:
    """A map begins with the size of its first part, which the library allocates."""
    return int.from_bytes(charsmap[:4], "little")


def _steps(part: Json, key: str) -> Iterator[Json]:
    if isinstance(part, dict) and part.get("type") == "Sequence":
        for step in cast(list[Json], part.get(key) or []):
            yield from _steps(step, key)
    else:
        yield part


def _growth(step: Json) -> int:
    """The largest number of characters that a step makes of one character."""
    match step:
        case {"type": "Replace", "pattern": {"String": str(pattern)}, "content": str(content)}:
            return max(1, -(-len(content) // max(1, len(pattern))) + (not pattern))
        case {"type": "Replace", "content": str(content)}:
            return max(1, len(content))
        case {"type": "Prepend", "prepend": str(content)}:
            return 1 if len(content) <= _MAX_PREPENDED else len(content)
        case {"type": "Precompiled"}:
            charsmap = charsmap_of(step)
            assert charsmap is not None
            return max(map(_length, charsmap[4 + _trie_bytes(charsmap) :].split(b"\0")))
        case _:
            return 1


def _length(replacement: bytes) -> int:
    return max(1, len(replacement.decode(errors="replace")))


def _template_faults(post_processor: Json) -> Iterator[str]:
    match post_processor:
        case {"type": "Sequence", "processors": [*processors]}:
            if len(processors) > _MAX_PIECES:
                yield f"its post-processor has more than {_MAX_PIECES} steps"
            for processor in processors[:_MAX_PIECES]:
                yield from _template_faults(processor)
        case {"type": "TemplateProcessing", "single": [*single], "pair": [*pair], "special_tokens": {**special}}:
            if len(single) + len(pair) > _MAX_PIECES:
                yield f"its post-processor has a template of more than {_MAX_PIECES} pieces"
            if sum(_num_ids(token) for token in special.values()) > _MAX_INSERTED:
                yield f"its post-processor inserts more than {_MAX_INSERTED} tokens"
        case _:
            pass


def _num_ids(token: Json) -> int:
    match token:
        case {"ids": [*ids]}:
            return len(ids)
        case _:
            return 0
