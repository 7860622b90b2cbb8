"""Converts vocabularies of the model `gpt2`: byte-pair merges over bytes that are written as characters."""

from collections.abc import Collection, Sequence

from onward_server.errors import ExportError
from onward_server.export.tokenizers.metadata import MERGES, TokenizerMetadata
from onward_server.export.tokenizers.pre_tokenizers import PreTokenizer
from onward_server.export.tokenizers.special_tokens import SpecialTokens
from onward_server.export.tokenizers.tokenizer_json import (
    Merge,
    added_tokens,
    byte_pair_model,
    post_processor,
    tokenizer_json,
)
from onward_server.export.tokenizers.vocabulary import Vocabulary
from onward_server.json_value import JsonObject

_DECODER: JsonObject = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def byte_level_json(
    metadata: TokenizerMetadata, vocabulary: Vocabulary, special: SpecialTokens, pre_tokenizer: PreTokenizer
) -> str:
    """Returns the tokenizer.json.

    Raises:
        ExportError: The merges are missing, or one of them names a token that does not exist.
    """
    merges = _merges(metadata, vocabulary.tokens.values())
    return tokenizer_json(
        added=added_tokens(vocabulary),
        normalizer=pre_tokenizer.normalizer,
        pre_tokenizer=pre_tokenizer.state,
        processor=post_processor(special, vocabulary),
        decoder=_DECODER,
        model=byte_pair_model(vocabulary, merges, ignores_merges=pre_tokenizer.ignores_merges),
    )


def _merges(metadata: TokenizerMetadata, tokens: Collection[str]) -> Sequence[Merge]:
    texts = metadata.texts(MERGES)
    if texts is None:
        raise ExportError(f"{MERGES}: missing; a tokenizer of the model gpt2 needs it")
    known = frozenset(tokens)
    merges: list[Merge] = []
    for i, text in enumerate(texts):
        split = text.find(" ", 1)  # a part may start with a space, as llama.cpp reads it
        left, right = (text[:split], text[split + 1 :]) if split > 0 else (text, "")
        if not right:
            raise ExportError(f"{MERGES}[{i}]: {text!r} is not two tokens with a space between them")
        for token in (left, right, left + right):
            if token not in known:
                raise ExportError(f"{MERGES}[{i}]: {text!r} needs the token {token!r}, which the vocabulary lacks")
        merges.append((left, right))
    return merges
