"""Composes a tokenizer.json for byte-pair merges."""

import json
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from onward_server.export.tokenizers.special_tokens import SpecialTokens
from onward_server.export.tokenizers.vocabulary import TokenType, Vocabulary
from onward_server.json_value import Json, JsonObject

Merge = tuple[str, str]

_ADDED_TYPES = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)


def added_tokens(vocabulary: Vocabulary, strips_space_after: AbstractSet[int] = frozenset()) -> list[Json]:
    """The tokens that are matched as a whole, before a text is normalized and split.

    Args:
        vocabulary: All tokens.
        strips_space_after: Ids of tokens that take the white space after them.
    """
    return [
        {
            "id": token_id,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": token_id in strips_space_after,
            "normalized": False,
            "special": vocabulary.types[token_id] is not TokenType.USER_DEFINED,
        }
        for token_id, token in vocabulary.of_type(*_ADDED_TYPES).items()
    ]


def byte_pair_model(
    vocabulary: Vocabulary,
    merges: Iterable[Merge],
    *,
    unknown: str | None = None,
    falls_back_to_bytes: bool = False,
    ignores_merges: bool = False,
) -> JsonObject:
    """The section `model`."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unknown is not None,
        "byte_fallback": falls_back_to_bytes,
        "ignore_merges": ignores_merges,
        "vocab": {token: token_id for token_id, token in vocabulary.tokens.items()},
        "merges": [list(merge) for merge in merges],
    }


def post_processor(special: SpecialTokens, vocabulary: Vocabulary) -> Json:
    """The section `post_processor`, which adds `bos` before a text and `eos` after it; None if neither is added."""
    before = [special.bos] if special.adds_bos and special.bos is not None else []
    after = [special.eos] if special.adds_eos and special.eos is not None else []
    if not (before or after):
        return None

    def around(sequence: str, type_id: int) -> list[Json]:
        place: Json = {"Sequence": {"id": sequence, "type_id": type_id}}
        return [*inserted(before, type_id), place, *inserted(after, type_id)]

    def inserted(token_ids: Sequence[int], type_id: int) -> list[Json]:
        return [{"SpecialToken": {"id": vocabulary.tokens[token_id], "type_id": type_id}} for token_id in token_ids]

    tokens = {token_id: vocabulary.tokens[token_id] for token_id in (*before, *after)}
    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {
            token: {"id": token, "ids": [token_id], "tokens": [token]} for token_id, token in tokens.items()
        },
    }


def tokenizer_json(
    *,
    added: list[Json],
    normalizer: Json,
    pre_tokenizer: Json,
    processor: Json,
    decoder: Json,
    model: Json,
) -> str:
    """The whole file."""
    sections: JsonObject = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": processor,
        "decoder": decoder,
        "model": model,
    }
    return json.dumps(sections, ensure_ascii=False)
