import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.model.tokenizer import Tokenizer
from tests.sample_tokenizers import CORPUS, FAMILIES, load
from tests.tokenizer_checks import assert_pieces_joined_are_the_decoded_whole, pieces_of
from tests.write_pocket_golden import GOLDEN, SERVED

CASES: Sequence[Mapping[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))


def byte_ids(name: str, data: bytes) -> list[int]:
    """Returns one token id for each byte."""
    tokenizer = load(name)
    of_byte = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocabulary_size)}
    return [of_byte[bytes([byte])] for byte in data]


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_pieces_joined_are_the_decoded_whole(name: str, data: st.DataObject) -> None:
    assert_pieces_joined_are_the_decoded_whole(load(name), data)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback", "cases", "pieces"])
@given(text=st.text(st.sampled_from("a😀👩\u200d🚀e\u0301日é"), max_size=12))
def test_a_character_is_emitted_with_its_last_byte(name: str, text: str) -> None:
    detokenizer = Detokenizer(load(name), at_text_start=False)
    shown = pieces_of(detokenizer, byte_ids(name, text.encode()))
    assert [piece for piece in shown if piece] == list(text)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback", "cases", "pieces"])
@given(data=st.binary(max_size=12))
def test_invalid_bytes_are_replaced_as_in_the_whole(name: str, data: bytes) -> None:
    ids = byte_ids(name, data.replace(b" ", b"."))
    shown = pieces_of(Detokenizer(load(name), at_text_start=True), ids)
    assert "".join(shown) == data.replace(b" ", b".").decode("utf-8", "replace")


def test_tokens_that_end_inside_a_character_end_with_a_replacement_character() -> None:
    assert pieces_of(Detokenizer(load("byte_level"), at_text_start=False), byte_ids("byte_level", b"a\xf0\x9f")) == [
        "a",
        "",
        "",
        "\ufffd",
    ]


@pytest.mark.parametrize(("at_text_start", "text"), [(True, "the the"), (False, " the the")])
def test_the_space_before_the_first_word_is_dropped_only_at_the_start_of_a_text(
    *, at_text_start: bool, text: str
) -> None:
    tokenizer = load("byte_fallback")
    ids = tokenizer.encode("the the", add_special_tokens=True).ids
    assert "".join(pieces_of(Detokenizer(tokenizer, at_text_start=at_text_start), list(ids))) == text


def test_byte_level_tokens_keep_a_leading_space() -> None:
    tokenizer = load("byte_level")
    ids = tokenizer.encode(" the", add_special_tokens=False).ids
    assert "".join(pieces_of(Detokenizer(tokenizer, at_text_start=True), list(ids))) == " the"


def test_special_tokens_are_hidden_unless_they_are_visible() -> None:
    tokenizer = load("byte_level")
    ids = list(tokenizer.encode("<|im_start|>a<|im_end|>", add_special_tokens=False).ids)
    hidden = Detokenizer(tokenizer, at_text_start=False)
    shown = Detokenizer(tokenizer, at_text_start=False, visible=frozenset({ids[0]}))
    assert pieces_of(hidden, ids) == ["", "a", "", ""]
    assert pieces_of(shown, ids) == ["<|im_start|>", "a", "", ""]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["prompt"][-40:])
def test_a_completion_of_the_embedded_model_comes_back_byte_for_byte(case: Mapping[str, Any]) -> None:
    tokenizer = Tokenizer.load(SERVED)
    assert "".join(pieces_of(Detokenizer(tokenizer, at_text_start=False), case["completion_ids"])) == case["completion"]


@pytest.mark.parametrize("name", ["numbers", "pieces", "bare_pieces", "large"])
def test_a_text_of_many_scripts_comes_back_byte_for_byte(name: str) -> None:
    tokenizer = load(name)
    for line in CORPUS[:-1]:  # the last one spells control tokens
        ids = tokenizer.encode(line, add_special_tokens=True).ids
        assert "".join(pieces_of(Detokenizer(tokenizer, at_text_start=True), list(ids))) == line
