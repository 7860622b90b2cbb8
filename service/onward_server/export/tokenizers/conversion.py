"""Converts the tokenizer of a GGUF file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from onward_server.errors import ExportError
from onward_server.export.tokenizers.byte_level import byte_level_json
from onward_server.export.tokenizers.chat_templates import chat_template_files
from onward_server.export.tokenizers.metadata import MODEL, PRE_TOKENIZER, TokenizerMetadata
from onward_server.export.tokenizers.pre_tokenizers import pre_tokenizer_named
from onward_server.export.tokenizers.sentencepiece import sentencepiece_json
from onward_server.export.tokenizers.special_tokens import SpecialTokens, read_special_tokens
from onward_server.export.tokenizers.vocabulary import Vocabulary, read_vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedTokenizer:
    """The files of a tokenizer, and the token ids that generation_config.json needs."""

    num_tokens: int
    """Number of token ids, including those of unused tokens."""

    files: Mapping[str, str]
    """Contents by path: tokenizer.json, tokenizer_config.json, and chat templates if there are any."""
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    """Every token that ends the output of the model; the end of a sequence is first."""
    pad_token_id: int | None


def convert_tokenizer(metadata: Mapping[str, object]) -> ConvertedTokenizer:
    """Converts the tokenizer that a GGUF file describes. Takes a few seconds for the largest vocabularies.

    Args:
        metadata: The metadata of the file by key. Arrays are lists, tuples or arrays of numpy.

    Raises:
        ExportError: The kind of tokenizer is not supported, or the metadata contradict themselves.
    """
    values = TokenizerMetadata(metadata)
    templates = chat_template_files(values)
    match model := values.text(MODEL):
        case "gpt2":
            pre_tokenizer = pre_tokenizer_named(values.text(PRE_TOKENIZER) or "default")
            special = read_special_tokens(values, has_llama_defaults=False, adds_bos=pre_tokenizer.adds_bos)
            vocabulary = read_vocabulary(values, special.ids(), spaces_are_marked=False)
            state = byte_level_json(values, vocabulary, special, pre_tokenizer)
        case "llama":
            special = read_special_tokens(values, has_llama_defaults=True, adds_bos=True)
            vocabulary = read_vocabulary(values, special.ids(), spaces_are_marked=True)
            state = sentencepiece_json(values, vocabulary, special)
        case None:
            raise ExportError(f"{MODEL}: missing; the file has no tokenizer")
        case _:
            raise ExportError(f"{MODEL}: {model!r} is not a supported tokenizer; they are gpt2 and llama")
    files = {"tokenizer.json": state, "tokenizer_config.json": _config(special, vocabulary)}
    return ConvertedTokenizer(
        num_tokens=vocabulary.size,
        files={**files, **templates},
        bos_token_id=special.bos,
        eos_token_ids=special.ends,
        pad_token_id=special.padding,
    )


def _config(special: SpecialTokens, vocabulary: Vocabulary) -> str:
    """The tokenizer_config.json."""
    named = {
        "bos_token": special.bos,
        "eos_token": special.eos,
        "unk_token": special.unknown,
        "pad_token": special.padding,
    }
    return json.dumps(
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{name: vocabulary.tokens[token_id] for name, token_id in named.items() if token_id is not None},
            "add_bos_token": special.adds_bos,
            "add_eos_token": special.adds_eos,
            "clean_up_tokenization_spaces": False,
        },
        ensure_ascii=False,
        indent=2,
    )
