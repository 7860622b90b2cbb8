"""The vocabulary of a GGUF file: the text and the type of each token."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum

from onward_server.errors import ExportError
from onward_server.export.tokenizers.metadata import TOKENS, TYPES, TokenizerMetadata

_MAX_TOKEN_LENGTH, _MAX_CHARACTERS = 1 << 14, 1 << 23
"""The limits of a tokenizer.json that can be served."""


class TokenType(IntEnum):
    """What a token is for, by the numbers of the GGUF format."""

    UNDEFINED = 0
    """Treated as `NORMAL`."""
    NORMAL = 1
    UNKNOWN = 2
    """Stands for text that the vocabulary cannot express."""
    CONTROL = 3
    USER_DEFINED = 4
    """Text that is always one token, wherever it occurs."""
    UNUSED = 5
    """Fills a place in the embedding matrix; never an output."""
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The tokens that can occur in a text, by id; unused and empty tokens are left out."""

    tokens: Mapping[int, str]
    types: Mapping[int, TokenType]
    size: int
    """Number of token ids, including those left out."""

    def of_type(self, *types: TokenType) -> Mapping[int, str]:
        """The tokens of some types."""
        return {token_id: token for token_id, token in self.tokens.items() if self.types[token_id] in types}


def read_vocabulary(
    metadata: TokenizerMetadata, special_ids: AbstractSet[int], *, spaces_are_marked: bool
) -> Vocabulary:
    """Reads the tokens and their types.

    Args:
        metadata: The metadata of the file.
        special_ids: Tokens that the file names, for example as its end of sequence; they count as control tokens.
        spaces_are_marked: Whether U+2581 stands for a space in the tokens. In user-defined tokens, which are matched
            with the text as it is, it is replaced.

    Raises:
        ExportError: An array is missing, has the wrong type or length, or two tokens are the same.
    """
    texts = require_tokens(metadata)
    types = _types(metadata, len(texts), special_ids)
    kept = {i: text for i, text in enumerate(texts) if text and types[i] is not TokenType.UNUSED}
    _require_distinct(kept)
    if spaces_are_marked:
        known = set(kept.values())
        for i, text in kept.items():
            if types[i] is TokenType.USER_DEFINED and (plain := text.replace("▁", " ")) not in known:
                kept[i] = plain
                known.add(plain)
    return Vocabulary(tokens=kept, types={i: types[i] for i in kept}, size=len(texts))


def require_tokens(metadata: TokenizerMetadata) -> Sequence[str]:
    """The texts of all tokens.

    Raises:
        ExportError: The file has none, or they are too long.
    """
    texts = metadata.texts(TOKENS)
    if not texts:
        raise ExportError(f"{TOKENS}: {'missing' if texts is None else 'empty'}; the file has no vocabulary")
    for i, text in enumerate(texts):
        if len(text) > _MAX_TOKEN_LENGTH:
            raise ExportError(f"{TOKENS}[{i}]: has {len(text):,} characters; {_MAX_TOKEN_LENGTH:,} are allowed")
    if (total := sum(map(len, texts))) > _MAX_CHARACTERS:
        raise ExportError(f"{TOKENS}: has {total:,} characters in all; {_MAX_CHARACTERS:,} are allowed")
    return texts


def _types(metadata: TokenizerMetadata, num_tokens: int, special_ids: AbstractSet[int]) -> list[TokenType]:
    numbers = metadata.integers(TYPES)
    if numbers is None:
        numbers = [TokenType.NORMAL] * num_tokens
    if len(numbers) != num_tokens:
        raise ExportError(f"{TYPES}: has {len(numbers):,} values for {num_tokens:,} tokens")
    known = {int(token_type): token_type for token_type in TokenType}
    for i, number in enumerate(numbers):
        if number not in known:
            raise ExportError(f"{TYPES}[{i}]: {number} is not a token type; they are 0 to {max(known)}")
    types = [known[number] for number in numbers]
    for token_id in special_ids:
        if types[token_id] is not TokenType.UNKNOWN:
            types[token_id] = TokenType.CONTROL
    return types


def _require_distinct(tokens: Mapping[int, str]) -> None:
    first: dict[str, int] = {}
    for i, text in tokens.items():
        if (other := first.setdefault(text, i)) != i:
            raise ExportError(f"{TOKENS}[{i}]: {text!r} is also token {other}; tokens must differ")
