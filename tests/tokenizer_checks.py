"""Checks that every tokenizer must pass, and texts and prompts for them."""

from functools import cache

from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.model.tokenizer import RenderedPrompt, Tokenizer

_CHARACTERS = st.characters(exclude_categories=("Cs", "Cn", "Co", "Cc"))
"""Assigned, printable characters. Some tokenizers have no tokens for some bytes of other characters and drop them."""
TEXTS = st.text(st.one_of(_CHARACTERS, st.sampled_from("😀👩\u200d🚀e\u0301 \n<|s>/")), max_size=40)
CONTROL_TEXTS = st.text("ab <|im_end|></s>\n😀é", max_size=30)
SPACE_MARKER_TEXTS = ("▁", " ▁ ", "a▁b", "▁a", " ", " a")
_ODD = ("\u0390", "e\u0301", "\u1fef", "\u212a", "\u2001", " \n\t", "Q", "▁")
"""Composed, decomposed, with shorter normal forms, white space, missing in some, and SentencePiece's space."""


def assert_decoding_returns_the_text(tokenizer: Tokenizer, text: str) -> None:
    """For tokenizers that lose nothing; U+2581 is left out, because SentencePiece writes it for a space."""
    text = text.replace("▁", "")
    if text.isspace() or not any(control in text for control in tokenizer.control_strings):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, keep_special_tokens=True) == text


def assert_decoding_agrees_with_the_library(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=True).ids
    decoded = tokenizer.decode(ids, keep_special_tokens=False)
    assert decoded == _library(tokenizer).decode(ids, skip_special_tokens=True)


@cache
def _library(tokenizer: Tokenizer) -> LibraryTokenizer:
    return LibraryTokenizer.from_str(tokenizer.to_json())


def assert_byte_ranges_tile(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.prompt_tokens(tokenizer.encode(text, add_special_tokens=False))
    edges = [0, *(token.end_offset for token in tokens)]
    assert [token.start_offset for token in tokens] == edges[:-1]
    assert edges[-1] == len(text.encode())


def assert_a_space_marker_has_a_range_of_its_own(tokenizer: Tokenizer, text: str) -> None:
    """Asserts that the ranges after a space marker do not shift left."""
    before, *tokens = tokenizer.prompt_tokens(tokenizer.encode(text, add_special_tokens=False))
    if before.token != b" ":
        tokens = [before, *tokens]
    else:
        assert (before.start_offset, before.end_offset) == (0, 0)
    assert [token.start_offset for token in tokens] == [0, *(token.end_offset for token in tokens[:-1])]
    assert tokens[-1].end_offset == len(text.encode())


@st.composite
def prompts(draw: st.DrawFn, tokenizer: Tokenizer) -> tuple[RenderedPrompt, list[str]]:
    """A prompt of control strings and user text with a boundary at each user character, and the control strings."""
    controls = sorted(tokenizer.control_strings - {"<unk>"})
    fragments = [*controls, *"<|>/s", "im_start", "think>", "</th", "＜ｓ＞", " the", "\n", "日", "😀"]  # noqa: RUF001
    text, boundaries, genuine = "", list[int](), list[str]()
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            genuine.append(draw(st.sampled_from(controls)))
            text += genuine[-1]
        else:
            words = "".join(draw(st.lists(st.sampled_from(fragments), max_size=5)))
            boundaries += range(len(text), len(text) + len(words) + 1)
            text += words
    return RenderedPrompt(text=text, boundaries=tuple(sorted(set(boundaries)))), genuine


def assert_only_the_template_makes_control_tokens(tokenizer: Tokenizer, data: st.DataObject) -> None:
    prompt, genuine = data.draw(prompts(tokenizer))
    encoding = tokenizer.encode_prompt(prompt)
    controls = {tokenizer.token_id(token): token for token in tokenizer.control_strings - {"<unk>"}}
    assert [controls[token_id] for token_id in encoding.ids if token_id in controls] == genuine


def assert_decoding_returns_the_prompt(tokenizer: Tokenizer, data: st.DataObject) -> None:
    prompt, _ = data.draw(prompts(tokenizer))
    encoding = tokenizer.encode_prompt(prompt)
    assert tokenizer.decode(encoding.ids, keep_special_tokens=True) == prompt.text
    assert b"".join(token.token for token in tokenizer.prompt_tokens(encoding)) == prompt.text.encode()


def assert_encoded_as_the_library_does(tokenizer: Tokenizer, text: str, boundaries: set[int]) -> None:
    """A prompt without control strings."""
    if not any(control in text for control in tokenizer.control_strings):
        prompt = RenderedPrompt(text=text, boundaries=tuple(sorted(boundaries)))
        assert tokenizer.encode_prompt(prompt).ids == tokenizer.encode(text, add_special_tokens=False).ids


def longest_tokens(tokenizer: Tokenizer) -> list[str]:
    """The text of the eight longest."""
    table = (tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocabulary_size))
    return sorted((token.decode("utf-8", "ignore") for token in table), key=len)[-8:]


def assert_no_fewer_tokens_than_the_bound(tokenizer: Tokenizer, longest: list[str], data: st.DataObject) -> None:
    """Asserts this for texts of the longest tokens, of unusual characters and of random characters."""
    pieces = st.sampled_from([*longest, *_ODD])
    text = "".join(data.draw(st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12), label="pieces"))
    repeated = text * data.draw(st.integers(1, 20), label="times")
    boundaries = tuple(data.draw(st.sets(st.integers(0, len(repeated)), max_size=3), label="boundaries"))
    prompt = RenderedPrompt(text=repeated, boundaries=tuple(sorted(boundaries)))
    bound = tokenizer.min_tokens(repeated)
    assert bound <= len(tokenizer.encode(repeated, add_special_tokens=False).ids)
    assert bound <= len(tokenizer.encode_prompt(prompt).ids)


def assert_the_bound_grows_with_the_text(tokenizer: Tokenizer) -> None:
    text = "The cat sat on the mat. " * 4000
    assert len(tokenizer.encode(text, add_special_tokens=False).ids) / 200 < tokenizer.min_tokens(text)


def pieces_of(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    """The text that each token completes, and the rest at the end."""
    return [*map(detokenizer.add, ids), detokenizer.finish()]


def assert_pieces_joined_are_the_decoded_whole(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary_size + 1), max_size=20))
    joined = "".join(pieces_of(Detokenizer(tokenizer, at_text_start=True), ids))
    assert joined == tokenizer.decode(ids, keep_special_tokens=False)
