"""Converts vocabularies of the model `llama`: SentencePiece tokens with scores, and bytes for all other text."""

from collections.abc import Sequence

from onward_server.errors import ExportError
from onward_server.export.tokenizers.metadata import (
    ADD_SPACE_PREFIX,
    ARCHITECTURE,
    MODEL_NAME,
    SCORES,
    TOKENS,
    TYPES,
    TokenizerMetadata,
)
from onward_server.export.tokenizers.special_tokens import SpecialTokens
from onward_server.export.tokenizers.tokenizer_json import (
    Merge,
    added_tokens,
    byte_pair_model,
    post_processor,
    tokenizer_json,
)
from onward_server.export.tokenizers.vocabulary import TokenType, Vocabulary
from onward_server.json_value import Json, JsonObject

_SPACE = "▁"
_SPACES_TO_MARKERS: JsonObject = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
_DECODING: tuple[JsonObject, ...] = (
    {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
)
_PHI3_KEEPS_SPACE_AFTER = ("<unk>", "<s>", "<|endoftext|>")
_BYTE_TOKENS = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_MAX_MERGES = 1 << 20
"""Twice what the largest public vocabularies have."""
_STRIP_SPACE: JsonObject = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def sentencepiece_json(metadata: TokenizerMetadata, vocabulary: Vocabulary, special: SpecialTokens) -> str:
    """Returns the tokenizer.json. Takes a few seconds for 262,144 tokens.

    Raises:
        ExportError: The scores are missing, or a text may hold characters that no token stands for.
    """
    byte_tokens = vocabulary.of_type(TokenType.BYTE).values()
    if special.unknown is None and not {*byte_tokens} >= _BYTE_TOKENS:
        raise ExportError(f"{TYPES}: the vocabulary has neither a token for each byte nor an unknown token")
    adds_space = metadata.flag(ADD_SPACE_PREFIX) is not False
    normalizer, pre_tokenizer = _space_rules(vocabulary, adds_space=adds_space)
    unknown = None if special.unknown is None else vocabulary.tokens[special.unknown]
    scores = _scores(metadata, vocabulary.size)
    return tokenizer_json(
        added=added_tokens(vocabulary, _tokens_before_stripped_space(metadata, vocabulary)),
        normalizer=normalizer,
        pre_tokenizer=pre_tokenizer,
        processor=post_processor(special, vocabulary),
        decoder={"type": "Sequence", "decoders": [*_DECODING, *([_STRIP_SPACE] if adds_space else [])]},
        model=byte_pair_model(
            vocabulary, merges_by_score(vocabulary, scores), unknown=unknown, falls_back_to_bytes=bool(byte_tokens)
        ),
    )


def merges_by_score(vocabulary: Vocabulary, scores: Sequence[float]) -> list[Merge]:
    """All pairs of tokens that make a token, the highest score of the result first.

    Of results with the same score, pairs with the longest left part are first, so that runs grow from the left.
    Only normal tokens are made or merged: others are matched as a whole, or stand for what no token matches.

    Raises:
        ExportError: There are too many pairs.
    """
    pieces = vocabulary.of_type(TokenType.NORMAL, TokenType.UNDEFINED)
    ids = {piece: token_id for token_id, piece in pieces.items()}
    lengths = sorted({len(piece) for piece in ids})
    merges: list[tuple[float, int, int, int, int, Merge]] = []
    for token_id, piece in pieces.items():
        for split in lengths:
            if split >= len(piece):
                break
            left, right = ids.get(piece[:split]), ids.get(piece[split:])
            if left is not None and right is not None:
                merge = (piece[:split], piece[split:])
                merges.append((-scores[token_id], -split, split - len(piece), left, right, merge))
        if len(merges) > _MAX_MERGES:
            raise ExportError(f"{TOKENS}: more than {_MAX_MERGES:,} pairs of tokens make a token")
    merges.sort()
    return [merge[-1] for merge in merges]


def _scores(metadata: TokenizerMetadata, num_tokens: int) -> Sequence[float]:
    scores = metadata.numbers(SCORES)
    if scores is None:
        raise ExportError(f"{SCORES}: missing; a tokenizer of the model llama needs it")
    if len(scores) != num_tokens:
        raise ExportError(f"{SCORES}: has {len(scores):,} values for {num_tokens:,} tokens")
    return scores


def _space_rules(vocabulary: Vocabulary, *, adds_space: bool) -> tuple[Json, Json]:
    """The sections `normalizer` and `pre_tokenizer`.

    A space goes before each stretch of text between control tokens. In vocabularies of Mistral that have `[INST]` as a
    control token, it goes only before a text that starts without one.
    """
    if not adds_space:
        return _SPACES_TO_MARKERS, None
    if "[INST]" in vocabulary.of_type(TokenType.CONTROL).values():
        return None, {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "first", "split": False}
    return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE}, _SPACES_TO_MARKERS]}, None


def _tokens_before_stripped_space(metadata: TokenizerMetadata, vocabulary: Vocabulary) -> frozenset[int]:
    """Phi-3's control tokens take the white space after them, which a GGUF file says only by the model's name."""
    name = (metadata.text(MODEL_NAME) or "").lower()
    if metadata.text(ARCHITECTURE) != "phi3" and "phi-3" not in name and "phi3" not in name:
        return frozenset()
    matched_whole = vocabulary.of_type(TokenType.CONTROL, TokenType.USER_DEFINED)
    return frozenset(token_id for token_id, token in matched_whole.items() if token not in _PHI3_KEEPS_SPACE_AFTER)
