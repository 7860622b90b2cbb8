"""Reads tokenizer.json, and rejects contents on which the tokenizers library panics, aborts or exhausts the memory."""

import json
import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import cast

from onward_server.errors import ModelFolderError
from onward_server.json_value import Json
from onward_server.model.bounded.tokenizer_trial import require_patterns_to_be_harmless
from onward_server.model.source.access import is_present, read_text
from onward_server.model.source.json_file import parse_json_object
from onward_server.model.source.other_formats import absence_of_tokenizer
from onward_server.model.tokenizer_growth import charsmap_of, growth_faults

logger = logging.getLogger(__name__)

_MAX_LISTED = 5
_MAX_BYTES = 128 << 20
_MAX_VALUES = 8_000_000
"""Both are four times what the largest public files have: 33 MB, 262,144 tokens and 580,604 merges."""
_MAX_TOKENS, _MAX_ADDED = 1 << 20, 1 << 18
_MAX_TOKEN_LENGTH, _MAX_CHARACTERS = 1 << 14, 1 << 23
_MAX_TOKEN_ID = 1 << 24
"""Tables in memory have an entry for each id up to the highest."""


def read_tokenizer_file(path: Path, num_logits: int | None = None) -> str:
    """The text of a tokenizer.json, without added tokens that the model has no logits for.

    Tools add some, for example to pad a batch, without making the model larger. Their texts are then read as text.

    Args:
        path: The file.
        num_logits: The size of the model's vocabulary; None: unknown.

    Raises:
        ModelFolderError: The file is missing, is not a JSON object, or has contents that the library cannot handle.
    """
    if not is_present(path):
        folder = str(path.parent)
        names = [other.name for other in path.parent.iterdir()]
        raise ModelFolderError(absence_of_tokenizer(names, source=folder, output=folder))
    text = read_text(path, _MAX_BYTES)
    if sum(map(text.count, ",[{")) > _MAX_VALUES:  # each value takes a hundred bytes when it is parsed
        raise ModelFolderError(f"{path} cannot be used as a tokenizer: it has more than {_MAX_VALUES:,} values")
    state = cast(dict[str, Json], parse_json_object(path, text))
    if fault := next(_faults(state), None):
        raise ModelFolderError(f"{path} cannot be used as a tokenizer: {fault}")
    require_patterns_to_be_harmless(path, state)
    superfluous = [] if num_logits is None else _added_beyond(state, num_logits)
    if not superfluous:
        return text
    logger.warning(
        "%s: the model has no logits for %s, which %s read as text",
        path,
        ", ".join(repr(token["content"]) for token in superfluous[:_MAX_LISTED]),
        "is" if len(superfluous) == 1 else "and others are" if len(superfluous) > _MAX_LISTED else "are",
    )
    kept = [token for token in cast(list[Json], state["added_tokens"]) if token not in superfluous]
    return json.dumps({**state, "added_tokens": kept})


def _added_beyond(state: dict[str, Json], num_logits: int) -> list[dict[str, Json]]:
    """The added tokens with higher ids; empty if the vocabulary itself has such ids, or the post-processor adds one."""
    match state:
        case {"model": {"vocab": {**vocabulary}}, "added_tokens": [*added]}:
            tokens = [token for token in added if isinstance(token, dict)]
            beyond = [token for token in tokens if _as_number(token.get("id")) >= num_logits]
            in_vocabulary = any(_as_number(token_id) >= num_logits for token_id in vocabulary.values())
            processor = json.dumps(state.get("post_processor"))
            is_added = any(json.dumps(token.get("content")) in processor for token in beyond)
            return [] if in_vocabulary or is_added else beyond
        case _:
            return []


def _as_number(value: Json) -> int:
    return value if isinstance(value, int) else -1


def _faults(state: dict[str, Json]) -> Iterator[str]:
    match state:
        case {"model": {"continuing_subword_prefix": str(prefix), "merges": [*merges]}}:
            yield from _merge_faults(prefix, merges)
        case _:
            pass
    match state:
        case {"model": {"vocab": {**vocabulary}}}:
            yield from _id_faults(vocabulary.values())
            yield from _size_faults(vocabulary)
        case {"model": {"vocab": [*entries]}}:
            yield from _size_faults([entry[0] for entry in entries if isinstance(entry, list) and entry])
        case _:
            pass
    match state:
        case {"added_tokens": [*added]}:
            tokens = [token for token in added if isinstance(token, dict)]
            yield from _id_faults(token.get("id") for token in tokens)
            yield from _length_faults(token.get("content") for token in tokens)
            if len(added) > _MAX_ADDED:
                yield f"it has {len(added):,} added tokens; {_MAX_ADDED:,} are allowed"
        case _:
            pass
    yield from _template_faults(state.get("post_processor"))
    yield from _normalizer_faults(state.get("normalizer"))
    yield from growth_faults(state)


def _size_faults(vocabulary: Collection[Json]) -> Iterator[str]:
    if len(vocabulary) > _MAX_TOKENS:
        yield f"it has {len(vocabulary):,} tokens; {_MAX_TOKENS:,} are allowed"
    yield from _length_faults(vocabulary)


def _length_faults(tokens: Iterable[Json]) -> Iterator[str]:
    lengths = [len(token) for token in tokens if isinstance(token, str)]
    if (longest := max(lengths, default=0)) > _MAX_TOKEN_LENGTH:
        yield f"it has a token of {longest:,} characters; {_MAX_TOKEN_LENGTH:,} are allowed"
    if (total := sum(lengths)) > _MAX_CHARACTERS:  # the library has a state for each character
        yield f"its tokens have {total:,} characters in all; {_MAX_CHARACTERS:,} are allowed"


def _merge_faults(prefix: str, merges: list[Json]) -> Iterator[str]:
    """A merge removes the prefix of its second part without checking for it."""
    for merge in merges:
        match merge.split(" ") if isinstance(merge, str) else merge:
            case [str(), str(second)] if not second.startswith(prefix):
                yield f"the merge {merge!r} does not continue a word with the prefix {prefix!r}"
            case _:
                pass


def _id_faults(token_ids: Iterable[Json]) -> Iterator[str]:
    for token_id in token_ids:
        if isinstance(token_id, int) and token_id > _MAX_TOKEN_ID:
            yield f"it has the token id {token_id}; ids are at most {_MAX_TOKEN_ID}"


def _template_faults(post_processor: Json) -> Iterator[str]:
    """A template may name only the special tokens that it defines."""
    match post_processor:
        case {"type": "Sequence", "processors": [*processors]}:
            for processor in processors:
                yield from _template_faults(processor)
        case {"type": "TemplateProcessing", "special_tokens": {**defined}, "single": [*single], "pair": [*pair]}:
            for piece in (*single, *pair):
                match piece:
                    case {"SpecialToken": {"id": str(name)}} if name not in defined:
                        yield f"its post-processor inserts the token {name!r}, which it does not define"
                    case _:
                        pass
        case _:
            pass


def _normalizer_faults(normalizer: Json) -> Iterator[str]:
    match normalizer:
        case {"type": "Sequence", "normalizers": [*steps]}:
            for step in steps:
                yield from _normalizer_faults(step)
        case _:
            try:
                charsmap_of(normalizer)
            except ValueError as error:
                yield f"its normalizer has {error}"
