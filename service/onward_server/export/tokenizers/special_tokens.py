"""The tokens that a GGUF file names: start and end of a sequence, unknown and padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onward_server.errors import ExportError
from onward_server.export.tokenizers.metadata import (
    ADD_BOS,
    ADD_EOS,
    BOS_ID,
    EOM_ID,
    EOS_ID,
    EOT_ID,
    PADDING_ID,
    TYPES,
    UNKNOWN_ID,
    TokenizerMetadata,
)
from onward_server.export.tokenizers.vocabulary import TokenType, require_tokens

_ENDS_OF_TURN = frozenset(
    {
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    }
)
"""Tokens that end the turn of the model in one chat format or another; control tokens even where a file differs."""
_ENDS_OF_TURN_OR_TEXT = frozenset({"<eos>", "</s>", "<EOT>", "[EOT]", "[EOS]"})
"""The same, unless the file says that the token is normal text."""
_HARMONY = frozenset({"<|return|>", "<|call|>"})
"""Where both exist, `<|end|>` ends a message within the turn."""
_MATCHED_WHOLE = (TokenType.CONTROL, TokenType.USER_DEFINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Token ids; None if the file names no such token."""

    bos: int | None
    eos: int | None
    unknown: int | None
    padding: int | None
    ends: tuple[int, ...]
    """Every token that ends the output of the model; `eos` is first."""
    adds_bos: bool
    adds_eos: bool

    def ids(self) -> frozenset[int]:
        """All of them."""
        named = (self.bos, self.eos, self.unknown, self.padding)
        return frozenset(token_id for token_id in (*named, *self.ends) if token_id is not None)


def read_special_tokens(metadata: TokenizerMetadata, *, has_llama_defaults: bool, adds_bos: bool) -> SpecialTokens:
    """Reads the special tokens.

    Args:
        metadata: The metadata of the file.
        has_llama_defaults: Whether tokens that the file does not name are those of Llama 2: `<unk>`, `<s>`, `</s>`.
        adds_bos: Whether a text starts with `bos` if the file does not say.

    Raises:
        ExportError: An id is not in the vocabulary, or a text shall start or end with a token that has no id.
    """
    tokens = require_tokens(metadata)

    def named(key: str, default: str) -> int | None:
        token_id = _token_id(metadata, key, tokens)
        if token_id is None and has_llama_defaults and default in tokens[:3]:
            return tokens.index(default)
        return token_id

    bos, eos = named(BOS_ID, "<s>"), named(EOS_ID, "</s>")
    others = [_token_id(metadata, key, tokens) for key in (EOT_ID, EOM_ID)]
    ends = [token_id for token_id in (eos, *others) if token_id is not None]
    return SpecialTokens(
        bos=bos,
        eos=eos,
        unknown=named(UNKNOWN_ID, "<unk>"),
        padding=_token_id(metadata, PADDING_ID, tokens),
        ends=tuple(dict.fromkeys([*ends, *_ends_by_text(metadata, tokens)])),
        adds_bos=_adds(metadata, ADD_BOS, BOS_ID, bos, default=adds_bos),
        adds_eos=_adds(metadata, ADD_EOS, EOS_ID, eos, default=False),
    )


def _token_id(metadata: TokenizerMetadata, key: str, tokens: Sequence[str]) -> int | None:
    token_id = metadata.token_id(key, len(tokens))
    if token_id is not None and not tokens[token_id]:
        raise ExportError(f"{key}: {token_id} is an empty token")
    return token_id


def _ends_by_text(metadata: TokenizerMetadata, tokens: Sequence[str]) -> Iterator[int]:
    types = metadata.integers(TYPES) or [TokenType.NORMAL] * len(tokens)
    found = {
        token: token_id
        for token_id, (token, token_type) in enumerate(zip(tokens, types, strict=False))
        if token in _ENDS_OF_TURN or (token in _ENDS_OF_TURN_OR_TEXT and token_type in _MATCHED_WHOLE)
    }
    if found.keys() >= _HARMONY:
        found.pop("<|end|>", None)
    yield from found.values()


def _adds(metadata: TokenizerMetadata, key: str, id_key: str, token_id: int | None, *, default: bool) -> bool:
    adds = metadata.flag(key)
    if adds and token_id is None:
        raise ExportError(f"{key}: true, but the file has no {id_key}")
    return token_id is not None and (default if adds is None else adds)
