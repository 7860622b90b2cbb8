import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward_server.completion.answer.detokenizer import Detokenizer
from tests.sample_tokenizers import REAL, load

FAMILIES = ("byte_level", "byte_fallback", "unigram", "words", *REAL)


def pieces(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*map(detokenizer.add, ids), detokenizer.finish()]


def byte_ids(name: str, data: bytes) -> list[int]:
    """Returns one token id for each byte."""
    tokenizer = load(name)
    of_byte = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocabulary_size)}
    return [of_byte[bytes([byte])] for byte in data]


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_pieces_joined_are_the_decoded_whole(name: str, data: st.DataObject) -> None:
    tokenizer = load(name)
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary_size + 1), max_size=20))
    joined = "".join(pieces(Detokenizer(tokenizer, at_text_start=True), ids))
    assert joined == tokenizer.decode(ids, keep_special_tokens=False)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
@given(text=st.text(st.sampled_from("a😀👩\u200d🚀e\u0301日é"), max_size=12))
def test_a_character_is_emitted_with_its_last_byte(name: str, text: str) -> None:
    detokenizer = Detokenizer(load(name), at_text_start=False)
    shown = pieces(detokenizer, byte_ids(name, text.encode()))
    assert [piece for piece in shown if piece] == list(text)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
@given(data=st.binary(max_size=12))
def test_invalid_bytes_are_replaced_as_in_the_whole(name: str, data: bytes) -> None:
    ids = byte_ids(name, data.replace(b" ", b"."))
    shown = pieces(Detokenizer(load(name), at_text_start=True), ids)
    assert "".join(shown) == data.replace(b" ", b".").decode("utf-8", "replace")


def test_tokens_that_end_inside_a_character_end_with_a_replacement_character() -> None:
    assert pieces(Detokenizer(load("byte_level"), at_text_start=False), byte_ids("byte_level", b"a\xf0\x9f")) == [
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
    assert "".join(pieces(Detokenizer(tokenizer, at_text_start=at_text_start), list(ids))) == text


def test_byte_level_tokens_keep_a_leading_space() -> None:
    tokenizer = load("byte_level")
    ids = tokenizer.encode(" the", add_special_tokens=False).ids
    assert "".join(pieces(Detokenizer(tokenizer, at_text_start=True), list(ids))) == " the"


def test_special_tokens_are_hidden_unless_they_are_visible() -> None:
    tokenizer = load("byte_level")
    ids = list(tokenizer.encode("<|im_start|>a<|im_end|>", add_special_tokens=False).ids)
    hidden = Detokenizer(tokenizer, at_text_start=False)
    shown = Detokenizer(tokenizer, at_text_start=False, visible=frozenset({ids[0]}))
    assert pieces(hidden, ids) == ["", "a", "", ""]
    assert pieces(shown, ids) == ["<|im_start|>", "a", "", ""]


def test_a_real_model_story_comes_back_byte_for_byte() -> None:
    tokenizer = load("stories260K")
    golden = (REAL["stories260K"].parent / "golden_greedy.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(golden, add_special_tokens=True).ids
    assert "".join(pieces(Detokenizer(tokenizer, at_text_start=True), list(ids))) == golden
