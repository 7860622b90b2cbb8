"""A text never has fewer tokens than `TokenBound` says, for tokenizers that drop, compose or strip characters."""

import json
import unicodedata
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import normalizers

from onward_server.model.tokenizer import RenderedPrompt, Tokenizer
from tests.sample_tokenizers import FAMILIES, REAL, byte_level, load, stripping

BOUNDED = ("byte_level", "ignore_merges", "byte_fallback", "stripping", "composing", "missing", *REAL)
ODD = ("\u0390", "e\u0301", "\u1fef", "\u212a", "\u2001", " \n\t", "Q", "▁")
"""Composed, decomposed, with shorter normal forms, white space, missing, and SentencePiece's space."""


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
def longest_tokens(name: str) -> list[str]:
    tokenizer = tokenizer_of(name)
    table = (tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocabulary_size))
    return sorted((token.decode("utf-8", "ignore") for token in table), key=len)[-8:]


@pytest.mark.parametrize("name", [*FAMILIES, *MADE, *REAL])
@given(data=st.data())
def test_no_text_has_fewer_tokens_than_its_bound(name: str, data: st.DataObject) -> None:
    tokenizer = tokenizer_of(name)
    pieces = st.sampled_from([*longest_tokens(name), *ODD])
    text = "".join(data.draw(st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12), label="pieces"))
    repeated = text * data.draw(st.integers(1, 20), label="times")
    boundaries = tuple(data.draw(st.sets(st.integers(0, len(repeated)), max_size=3), label="boundaries"))
    prompt = RenderedPrompt(text=repeated, boundaries=tuple(sorted(boundaries)))
    bound = tokenizer.min_tokens(repeated)
    assert bound <= len(tokenizer.encode(repeated, add_special_tokens=False).ids)
    assert bound <= len(tokenizer.encode_prompt(prompt).ids)


@pytest.mark.parametrize("name", BOUNDED)
def test_the_bound_of_a_long_text_grows_with_the_text(name: str) -> None:
    tokenizer = tokenizer_of(name)
    text = "The cat sat on the mat. " * 4000
    assert len(tokenizer.encode(text, add_special_tokens=False).ids) / 200 < tokenizer.min_tokens(text)


@pytest.mark.parametrize("name", ["byte_level", "smollm2"])
def test_the_bound_of_a_text_made_of_the_longest_token_is_exact(name: str) -> None:
    text = longest_tokens(name)[-1] * 50
    assert tokenizer_of(name).min_tokens(text) == 50


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
