"""Tokenizers of the model `llama`."""

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import cast

import pytest
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.export.tokenizers.conversion import convert_tokenizer
from tests import sample_tokenizers
from tests.gguf_vocabularies import GGML, pieces_metadata, sentencepiece_ids

_CHARACTERS = [*"aeinorst <s>/s 12.,\n\t日本カ한й😀ก▁", "  ", "    ", "\n\n", "</s", "s>", "<b>", "the ", " and"]


def llama2() -> LibraryTokenizer:
    """With merges that would make `</s>` of plain text, which SentencePiece does not allow."""
    return sample_tokenizers.byte_fallback()


def gemma() -> LibraryTokenizer:
    """With user-defined runs of spaces and line breaks."""
    return sample_tokenizers.bare_pieces()


SAMPLES: dict[str, Callable[[], LibraryTokenizer]] = {"llama2": llama2, "gemma": gemma}


@pytest.mark.parametrize("adds_space", [True, False])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_converted_tokenizer_encodes_as_sentencepiece_does(name: str, *, adds_space: bool) -> None:
    metadata = pieces_metadata(SAMPLES[name](), add_space_prefix=adds_space)
    converted = _converted(metadata)
    random = Random(f"{name} {adds_space}")
    texts = ["".join(random.choices(_CHARACTERS, k=random.randint(1, 20))) for _ in range(200)]
    texts = [text for text in texts if "<s>" not in text and "</s>" not in text]
    assert len(texts) > 100
    for text in texts:
        ids = converted.encode(text, add_special_tokens=False).ids
        assert ids == sentencepiece_ids(metadata, text, first=" " if adds_space else ""), text
        if "▁" not in text and not (adds_space and name == "gemma"):  # spaces after user-defined tokens remain
            assert converted.decode(ids) == text


def test_user_defined_runs_of_spaces_are_one_token() -> None:
    converted = _converted(pieces_metadata(gemma(), add_space_prefix=False))
    assert converted.encode("a    b\n\n\n", add_special_tokens=False).tokens == ["a", "    ", "b", "\n\n\n"]


def test_spaces_of_user_defined_tokens_may_be_marked_in_the_file() -> None:
    metadata = pieces_metadata(gemma(), add_space_prefix=False)
    tokens = cast(list[str], metadata[f"{GGML}.tokens"])
    marked = ["▁▁▁▁" if token == "    " else token for token in tokens]
    assert marked != tokens
    assert convert_tokenizer({**metadata, f"{GGML}.tokens": marked}) == convert_tokenizer(metadata)


def test_plain_text_does_not_merge_into_a_control_token() -> None:
    converted = _converted(pieces_metadata(llama2()))
    assert "</s>" not in [token for merge in _merges(converted) for token in (*merge, "".join(merge))]
    assert converted.encode("</s>", add_special_tokens=False).tokens == ["</s>"]


def test_a_space_is_put_after_each_control_token() -> None:
    converted = _converted(pieces_metadata(llama2()))
    assert converted.encode("a<s>a", add_special_tokens=False).tokens == ["▁a", "<s>", "▁a"]


def test_mistrals_later_vocabularies_put_a_space_only_before_the_whole_text() -> None:
    metadata = pieces_metadata(sample_tokenizers.first_pieces(), add_bos_token=False)
    converted = _converted(metadata)
    assert converted.encode("the cat").ids == sentencepiece_ids(metadata, "the cat", first=" ")
    after_control = [converted.token_to_id("[INST]"), *sentencepiece_ids(metadata, "the cat", first="")]
    assert converted.encode("[INST]the cat").ids == after_control


@pytest.mark.parametrize(
    ("values", "is_stripped"),
    [
        ({"general.name": "Phi-3 Mini"}, True),
        ({"general.name": "phi3"}, True),
        ({"general.architecture": "phi3", "general.name": "Mine"}, True),
        ({"general.architecture": "llama", "general.name": "Llama"}, False),
    ],
    ids=str,
)
def test_control_tokens_of_phi_3_take_the_space_after_them(values: dict[str, object], *, is_stripped: bool) -> None:
    metadata = pieces_metadata(sample_tokenizers.pieces(), add_space_prefix=False) | values
    converted = _converted(metadata)
    tokens = [converted.id_to_token(token_id) for token_id in converted.encode("</s> \n a<s> a").ids]
    assert (tokens[1:3] == ["</s>", "a"]) is is_stripped
    assert tokens[-2:] == ["<s>", "▁a"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["<s>", "▁a"]),
        ({"add_bos_token": False}, ["▁a"]),
        ({"add_eos_token": True}, ["<s>", "▁a", "</s>"]),
        ({"bos_token_id": 2}, ["</s>", "▁a"]),
    ],
    ids=str,
)
def test_tokens_are_put_around_a_text_as_the_file_says(values: dict[str, object], expected: list[str]) -> None:
    assert _converted(pieces_metadata(llama2(), **values)).encode("a").tokens == expected


def test_runs_of_equal_scores_grow_from_the_left() -> None:
    tokens = ["<unk>", "▁", "▁▁", "▁▁▁", "▁▁▁▁", "a"]
    metadata = {
        f"{GGML}.model": "llama",
        f"{GGML}.tokens": tokens,
        f"{GGML}.scores": [0.0] * len(tokens),
        f"{GGML}.token_type": [2, *[1] * (len(tokens) - 1)],
        f"{GGML}.add_space_prefix": False,
    }
    assert _converted(metadata).encode("       a").tokens == ["▁▁▁▁", "▁▁▁", "a"]


def test_characters_without_a_token_become_the_unknown_token_where_there_are_no_byte_tokens() -> None:
    metadata = {
        f"{GGML}.model": "llama",
        f"{GGML}.tokens": ["<unk>", "a"],
        f"{GGML}.scores": [0.0, -1.0],
        f"{GGML}.token_type": [2, 1],
        f"{GGML}.add_space_prefix": False,
    }
    assert _converted(metadata).encode("a日本a").ids == [1, 0, 1]


def _converted(metadata: Mapping[str, object]) -> LibraryTokenizer:
    return LibraryTokenizer.from_str(convert_tokenizer(metadata).files["tokenizer.json"])


def _merges(tokenizer: LibraryTokenizer) -> list[list[str]]:
    return json.loads(tokenizer.to_str())["model"]["merges"]
