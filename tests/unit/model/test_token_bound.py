"""A text never has fewer tokens than `TokenBound` says, for tokenizers that drop, compose or strip characters."""

import json
import unicodedata
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import normalizers

from onward_server.model.tokenizer import Tokenizer
from tests.sample_tokenizers import FAMILIES, byte_level, load, stripping
from tests.tokenizer_checks import (
    assert_no_fewer_tokens_than_the_bound,
    assert_the_bound_grows_with_the_text,
    longest_tokens,
)

BOUNDED = (
    *("byte_level", "ignore_merges", "byte_fallback", "stripping", "composing", "missing"),
    *("digits", "numbers", "cases", "composed", "large", "pieces", "bare_pieces"),
)


def composing() -> LibraryTokenizer:
    """Like Qwen's: NFC composes several characters into one."""
    tokenizer = stripping()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def missing() -> LibraryTokenizer:
    """A byte-level vocabulary without Q, so that a text of Qs has no tokens."""
    state = json.loads(byte_level().to_str())
    del state["model"]["vocab"]["Q"]
    return LibraryTokenizer.from_str(json.dumps(state))


def replaced(section: str, step: object) -> LibraryTokenizer:
    state = json.loads(byte_level().to_str())
    state[section] = step
    return LibraryTokenizer.from_str(json.dumps(state))


MADE = {"composing": composing, "missing": missing}


@cache
def tokenizer_of(name: str) -> Tokenizer:
    return Tokenizer(MADE[name](), {}) if name in MADE else load(name)


@cache
def longest(name: str) -> list[str]:
    return longest_tokens(tokenizer_of(name))


@pytest.mark.parametrize("name", [*FAMILIES, *MADE])
@settings(max_examples=50)
@given(data=st.data())
def test_no_text_has_fewer_tokens_than_its_bound(name: str, data: st.DataObject) -> None:
    assert_no_fewer_tokens_than_the_bound(tokenizer_of(name), longest(name), data)


@pytest.mark.parametrize("name", BOUNDED)
def test_the_bound_of_a_long_text_grows_with_the_text(name: str) -> None:
    assert_the_bound_grows_with_the_text(tokenizer_of(name))


@pytest.mark.parametrize("name", ["byte_level", "large"])
def test_the_bound_of_a_text_made_of_the_longest_token_is_exact(name: str) -> None:
    assert tokenizer_of(name).min_tokens(longest(name)[-1] * 50) == 50


def test_no_character_decomposes_into_more_than_three_code_points_for_two_bytes() -> None:
    characters = [chr(code) for code in range(0x110000) if unicodedata.decomposition(chr(code))]
    characters += ["\uac01"]  # Hangul syllables decompose by a rule
    assert all(2 * len(unicodedata.normalize("NFD", c)) <= 3 * len(c.encode()) for c in characters)


@pytest.mark.parametrize(
    "make",
    [
        lambda: replaced("normalizer", {"type": "NFKC"}),
        lambda: replaced("normalizer", {"type": "Replace", "pattern": {"String": "ab"}, "content": ""}),
        lambda: replaced("normalizer", {"type": "Sequence", "normalizers": [{"type": "StripAccents"}]}),
        lambda: replaced("pre_tokenizer", {"type": "WhitespaceSplit"}),
        lambda: replaced("pre_tokenizer", None),
        lambda: load("unigram"),
        lambda: load("words"),
    ],
    ids=["NFKC", "replacement", "accents", "white space", "no bytes", "unigram", "words"],
)
def test_a_tokenizer_that_may_drop_text_has_no_bound(make: Callable[[], LibraryTokenizer | Tokenizer]) -> None:
    made = make()
    tokenizer = made if isinstance(made, Tokenizer) else Tokenizer(made, {})
    assert tokenizer.min_tokens("x" * 1_000_000) == 0
