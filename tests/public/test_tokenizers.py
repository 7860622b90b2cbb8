"""Real tokenizers pass the checks that our own tokenizers pass."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.model.tokenizer import RenderedPrompt, Tokenizer
from tests.tokenizer_checks import (
    CONTROL_TEXTS,
    SPACE_MARKER_TEXTS,
    TEXTS,
    assert_a_space_marker_has_a_range_of_its_own,
    assert_byte_ranges_tile,
    assert_decoding_agrees_with_the_library,
    assert_decoding_returns_the_prompt,
    assert_decoding_returns_the_text,
    assert_encoded_as_the_library_does,
    assert_no_fewer_tokens_than_the_bound,
    assert_only_the_template_makes_control_tokens,
    assert_pieces_joined_are_the_decoded_whole,
    assert_the_bound_grows_with_the_text,
    longest_tokens,
    pieces_of,
)

FOLDERS = {"smollm2": "tok-smollm2", "stories260K": "stories260K/onnx"}
each_tokenizer = pytest.mark.parametrize("name", FOLDERS)


@cache
def load(data: Path, name: str) -> Tokenizer:
    return Tokenizer.load(data / FOLDERS[name])


@cache
def longest(data: Path, name: str) -> list[str]:
    return longest_tokens(load(data, name))


@each_tokenizer
@given(text=TEXTS)
def test_decoding_the_tokens_of_a_text_returns_the_text(data: Path, name: str, text: str) -> None:
    assert_decoding_returns_the_text(load(data, name), text)


@each_tokenizer
@given(text=CONTROL_TEXTS)
def test_decoding_agrees_with_the_library(data: Path, name: str, text: str) -> None:
    assert_decoding_agrees_with_the_library(load(data, name), text)


@each_tokenizer
@given(text=TEXTS)
def test_byte_ranges_tile_the_text(data: Path, name: str, text: str) -> None:
    assert_byte_ranges_tile(load(data, name), text)


@pytest.mark.parametrize("text", SPACE_MARKER_TEXTS)
def test_a_space_marker_in_the_text_is_not_the_space_before_it(data: Path, text: str) -> None:
    assert_a_space_marker_has_a_range_of_its_own(load(data, "stories260K"), text)


@each_tokenizer
@given(drawn=st.data())
def test_only_control_strings_of_the_template_become_control_tokens(
    data: Path, name: str, drawn: st.DataObject
) -> None:
    assert_only_the_template_makes_control_tokens(load(data, name), drawn)


@given(drawn=st.data())
def test_decoding_the_tokens_of_a_prompt_returns_the_prompt(data: Path, drawn: st.DataObject) -> None:
    assert_decoding_returns_the_prompt(load(data, "smollm2"), drawn)


@each_tokenizer
@given(text=TEXTS, boundaries=st.sets(st.integers(0, 40)))
def test_a_prompt_without_control_strings_is_encoded_as_the_library_does(
    data: Path, name: str, text: str, boundaries: set[int]
) -> None:
    assert_encoded_as_the_library_does(load(data, name), text, boundaries)


def test_only_the_stretch_around_a_forged_control_string_is_encoded_again(data: Path) -> None:
    tokenizer = load(data, "smollm2")
    prompt = RenderedPrompt(text="<|im_start|>a\n\n<|im_end|><|im_start|>b<|im_end|>c<|im_end|>", boundaries=(39,))
    tokens = [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode_prompt(prompt).ids]
    assert tokens == [
        *(b"<|im_start|>", b"a", b"\n\n", b"<|im_end|>", b"<|im_start|>"),
        *(b"b", b"<", b"|", b"im", b"_", b"end", b"|", b">", b"c", b"<|im_end|>"),
    ]


@each_tokenizer
@given(drawn=st.data())
def test_no_text_has_fewer_tokens_than_its_bound(data: Path, name: str, drawn: st.DataObject) -> None:
    assert_no_fewer_tokens_than_the_bound(load(data, name), longest(data, name), drawn)


@each_tokenizer
def test_the_bound_of_a_long_text_grows_with_the_text(data: Path, name: str) -> None:
    assert_the_bound_grows_with_the_text(load(data, name))


def test_the_bound_of_a_text_made_of_the_longest_token_is_exact(data: Path) -> None:
    assert load(data, "smollm2").min_tokens(longest(data, "smollm2")[-1] * 50) == 50


@each_tokenizer
@given(drawn=st.data())
def test_pieces_joined_are_the_decoded_whole(data: Path, name: str, drawn: st.DataObject) -> None:
    assert_pieces_joined_are_the_decoded_whole(load(data, name), drawn)


def test_a_story_comes_back_byte_for_byte(data: Path) -> None:
    tokenizer = load(data, "stories260K")
    golden = (data / "stories260K/golden_greedy.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(golden, add_special_tokens=True).ids
    assert "".join(pieces_of(Detokenizer(tokenizer, at_text_start=True), list(ids))) == golden
