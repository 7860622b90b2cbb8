"""The tokenizer metadata that a GGUF file has for a Hugging Face tokenizer, and a plain SentencePiece encoder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.export.tokenizers.vocabulary import TokenType

GGML = "tokenizer.ggml"


def byte_level_metadata(tokenizer: LibraryTokenizer, pre_tokenizer: str, **values: object) -> dict[str, object]:
    """Metadata of the model `gpt2`; `values` are added under `tokenizer.ggml`."""
    state = json.loads(tokenizer.to_str())
    tokens = _tokens(tokenizer)
    return {
        f"{GGML}.model": "gpt2",
        f"{GGML}.pre": pre_tokenizer,
        f"{GGML}.tokens": tokens,
        f"{GGML}.token_type": [int(token_type) for token_type in _types(state, tokens)],
        f"{GGML}.merges": [" ".join(merge) for merge in state["model"]["merges"]],
        **{f"{GGML}.{key}": value for key, value in values.items()},
    }


def pieces_metadata(tokenizer: LibraryTokenizer, **values: object) -> dict[str, object]:
    """Metadata of the model `llama`, in which a token that is merged earlier has a higher score."""
    state = json.loads(tokenizer.to_str())
    tokens = _tokens(tokenizer)
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(state["model"]["merges"]):
        ranks.setdefault(left + right, rank)
    types = _types(state, tokens)
    return {
        f"{GGML}.model": "llama",
        f"{GGML}.tokens": [
            token.replace("▁", " ") if token_type is TokenType.USER_DEFINED else token
            for token, token_type in zip(tokens, types, strict=True)
        ],
        f"{GGML}.scores": [-float(ranks.get(token, len(ranks))) for token in tokens],
        f"{GGML}.token_type": [int(token_type) for token_type in types],
        **{f"{GGML}.{key}": value for key, value in values.items()},
    }


def sentencepiece_ids(metadata: Mapping[str, Any], text: str, *, first: str) -> list[int]:
    """Encodes a text as SentencePiece does: it joins the pair with the highest score again and again.

    Args:
        metadata: Metadata of the model `llama`.
        text: A text without control tokens.
        first: What is put before each stretch of text between user-defined tokens.
    """
    types = metadata[f"{GGML}.token_type"]
    ids = {token: token_id for token_id, token in enumerate(metadata[f"{GGML}.tokens"])}
    scores = {
        token: metadata[f"{GGML}.scores"][token_id]
        for token, token_id in ids.items()
        if types[token_id] == TokenType.NORMAL
    }
    whole = [token for token, token_id in ids.items() if types[token_id] == TokenType.USER_DEFINED]
    encoded: list[int] = []
    for stretch in _parts(text, sorted(whole, key=len, reverse=True)):
        if stretch in whole:
            encoded.append(ids[stretch])
            continue
        for piece in _joined([*(first + stretch).replace(" ", "▁")], scores):
            encoded += [ids[piece]] if piece in scores else [ids[f"<0x{byte:02X}>"] for byte in piece.encode()]
    return encoded


def _joined(pieces: list[str], scores: Mapping[str, float]) -> Sequence[str]:
    while True:
        pairs = [left + right for left, right in pairwise(pieces)]
        best = max((pair for pair in pairs if pair in scores), key=scores.__getitem__, default=None)
        if best is None:
            return pieces
        i = pairs.index(best)
        pieces[i : i + 2] = [best]


def _parts(text: str, whole: Sequence[str]) -> Iterator[str]:
    """Cuts a text into user-defined tokens, the longest first, and the stretches between them."""
    start = end = 0
    while end < len(text):
        token = next((token for token in whole if text.startswith(token, end)), None)
        if token is None:
            end += 1
            continue
        if start < end:
            yield text[start:end]
        yield token
        start = end = end + len(token)
    if start < end:
        yield text[start:end]


def _tokens(tokenizer: LibraryTokenizer) -> list[str]:
    """All tokens by id; ids that no token has are named as the reference conversion names them."""
    ids = {token_id: token for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items()}
    return [ids.get(token_id, f"[PAD{token_id}]") for token_id in range(max(ids) + 1)]


def _types(state: Mapping[str, Any], tokens: Sequence[str]) -> list[TokenType]:
    added = {token["content"]: token["special"] for token in state["added_tokens"]}
    return [_type(token, added, has_bytes=state["model"]["byte_fallback"]) for token in tokens]


def _type(token: str, added: Mapping[str, bool], *, has_bytes: bool) -> TokenType:
    match token, added.get(token):
        case "<unk>", _:
            return TokenType.UNKNOWN
        case _, True:
            return TokenType.CONTROL
        case _, False:
            return TokenType.USER_DEFINED
        case str(text), None if text.startswith("[PAD"):
            return TokenType.UNUSED
        case str(text), None if has_bytes and text.startswith("<0x"):
            return TokenType.BYTE
        case _:
            return TokenType.NORMAL
