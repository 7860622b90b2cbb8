"""Tries the patterns of a tokenizer on long texts in a child process: see decision 0030.

A regular expression may take time that is exponential in the length of a text. Quadratic time is allowed, because some
public tokenizers take it, such as those that group digits from the right. An expression that is slow only for texts of
certain characters may go undetected.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers

from onward_server.errors import ModelFolderError
from onward_server.json_value import Json
from onward_server.model.bounded.process import ChildFailed, ChildRefused, Limits, run_bounded

_LIMITS = Limits(memory_bytes=256 << 20, processor_s=5, wall_s=60)
_LENGTH = 1 << 13
_CHARACTERS = "aA1 \n\t.\u00e9\u0301\u65e5\u0645\U0001f600"
_END = "\u0001"
"""A character that makes an expression fail at the end of a text, so that it tries all other matches."""
_MAX_PATTERNS = 256
_MAX_LITERALS = 24
_PARTS = ("normalizer", "pre_tokenizer")
_NO_WORDS = {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}


def require_patterns_to_be_harmless(path: Path, state: dict[str, Json]) -> None:
    """Runs the normalizer and the pre-tokenizer of a tokenizer.json on long texts, if they have patterns.

    Raises:
        ModelFolderError: They fail, or take much time or memory.
    """
    patterns = [pattern for part in _PARTS for pattern in _patterns(state.get(part))]
    if not patterns:
        return
    if len(patterns) > _MAX_PATTERNS:
        raise ModelFolderError(f"{path} cannot be used as a tokenizer: it has more than {_MAX_PATTERNS} patterns")
    trial = {"model": _NO_WORDS, "added_tokens": [], **{part: state.get(part) for part in _PARTS}}
    literals = sorted(set("".join(patterns)) - set(_CHARACTERS))[:_MAX_LITERALS]
    try:
        run_bounded(__name__, ["".join(literals)], _LIMITS, data=json.dumps(trial).encode())
    except ChildRefused as error:
        raise ModelFolderError(f"{path} cannot be used as a tokenizer: {error}") from error
    except ChildFailed as error:
        raise ModelFolderError(
            f"{path} cannot be used as a tokenizer: trying its normalizer and pre-tokenizer on texts of {_LENGTH:,} "
            f"characters failed: {error}"
        ) from error


def run_in_child(arguments: Sequence[str], data: bytes) -> bytes:
    """Encodes long texts."""
    try:
        tokenizer = tokenizers.Tokenizer.from_str(data.decode())
    except Exception:  # noqa: BLE001  loading the whole file says better what is wrong
        return b""
    for character in (*_CHARACTERS, *arguments[0]):
        try:
            tokenizer.encode(character * _LENGTH + _END)
        except BaseException as error:  # the library panics
            if isinstance(error, MemoryError):
                raise
            raise ModelFolderError(
                f"its normalizer or pre-tokenizer fails on a text of {_LENGTH:,} times {character!r}: {error}"
            ) from error
    return b""


def _patterns(part: Json) -> Iterator[str]:
    """The patterns of all steps of a normalizer or pre-tokenizer; for a compiled map, an empty one."""
    match part:
        case {"normalizers": [*steps]} | {"pretokenizers": [*steps]}:
            for step in steps:
                yield from _patterns(step)
        case {"pattern": {"Regex": str(pattern)}}:
            yield pattern
        case {"type": "Precompiled"}:
            yield ""
        case _:
            pass
