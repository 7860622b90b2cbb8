import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.errors import ModelFolderError
from onward_server.model.tokenizer import RenderedPrompt, TextNotEncodable, Tokenizer
from tests.sample_tokenizers import FAMILIES, byte_level, load
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
    assert_only_the_template_makes_control_tokens,
)

LOSSLESS = (
    *("byte_level", "digits", "numbers", "cases", "large"),
    *("byte_fallback", "pieces", "bare_pieces"),
)
"""Decoding returns every text; the others compose, strip or replace characters."""
DECODED = (*LOSSLESS, "composed", "unigram", "first_pieces")


def save(folder: Path, tokenizer: LibraryTokenizer, **configs: object) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=50)
@given(text=TEXTS)
def test_decoding_the_tokens_of_a_text_returns_the_text(name: str, text: str) -> None:
    assert_decoding_returns_the_text(load(name), text)


@pytest.mark.parametrize("name", DECODED)
@settings(max_examples=50)
@given(text=CONTROL_TEXTS)
def test_decoding_agrees_with_the_library(name: str, text: str) -> None:
    assert_decoding_agrees_with_the_library(load(name), text)


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=50)
@given(text=TEXTS)
def test_byte_ranges_tile_the_text(name: str, text: str) -> None:
    assert_byte_ranges_tile(load(name), text)


def test_a_token_inside_a_character_has_its_own_bytes_and_range() -> None:
    tokenizer = load("byte_fallback")
    tokens = tokenizer.prompt_tokens(tokenizer.encode("aé", add_special_tokens=True))
    assert [(token.token, token.start_offset, token.end_offset) for token in tokens] == [
        (b"<s>", 0, 0),
        (b" a", 0, 1),
        (b"\xc3", 1, 2),
        (b"\xa9", 2, 3),
    ]


def test_byte_ranges_go_on_after_white_space_that_a_control_token_swallowed() -> None:
    tokenizer = load("stripping")
    tokens = tokenizer.prompt_tokens(tokenizer.encode("é<|end|>\n a", add_special_tokens=False))
    assert (tokens[-1].token, tokens[-1].start_offset, tokens[-1].end_offset) == (b"a", 11, 12)


@pytest.mark.parametrize("text", SPACE_MARKER_TEXTS)
@pytest.mark.parametrize("name", ["byte_fallback", "pieces"])
def test_a_space_marker_in_the_text_is_not_the_space_before_it(name: str, text: str) -> None:
    assert_a_space_marker_has_a_range_of_its_own(load(name), text)


def test_ids_beyond_the_tokenizer_have_no_bytes() -> None:
    tokenizer = load("byte_level")
    assert tokenizer.token_bytes(tokenizer.vocabulary_size) == tokenizer.token_bytes(-1) == b""


def test_special_tokens_are_dropped_or_kept_in_text() -> None:
    tokenizer = load("byte_level")
    ids = tokenizer.encode("<|im_start|>user<think>", add_special_tokens=False).ids
    assert tokenizer.decode(ids, keep_special_tokens=False) == "user<think>"
    assert tokenizer.decode(ids, keep_special_tokens=True) == "<|im_start|>user<think>"


def test_words_without_a_decoder_are_joined_by_spaces() -> None:
    assert load("words").decode([1, 2, 1], keep_special_tokens=False) == "the cat the"


def test_white_space_is_not_a_control_string() -> None:
    tokenizer = load("byte_level")
    assert tokenizer.special_strings == {"<|im_start|>", "<|im_end|>"}
    assert tokenizer.control_strings == {"<|im_start|>", "<|im_end|>", "<think>", "</think>"}


def test_tokens_that_the_configuration_names_are_special(tmp_path: Path) -> None:
    config = {
        "eos_token": {"content": "user"},
        "pad_token": "not in the vocabulary",
        "bos_token": None,
        "additional_special_tokens": ["<think>", {"content": "</think>"}],
    }
    tokenizer = Tokenizer.load(
        save(tmp_path, byte_level(), tokenizer_config=config, special_tokens_map={"unk_token": "he"})
    )
    assert tokenizer.named_tokens == {
        "eos_token": "user",
        "pad_token": "not in the vocabulary",
        "unk_token": "he",
    }
    assert {"user", "he", "<think>", "</think>"} < tokenizer.special_strings
    assert "not in the vocabulary" not in tokenizer.control_strings


def test_truncation_of_the_file_is_not_applied(tmp_path: Path) -> None:
    state = json.loads(byte_level().to_str())
    state["truncation"] = {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    loaded = Tokenizer.load(tmp_path)
    assert loaded.decode(loaded.encode("a b c d", add_special_tokens=False).ids, keep_special_tokens=True) == "a b c d"


def test_dropout_of_the_file_is_not_applied(tmp_path: Path) -> None:
    """It drops merges at random, so equal prompts had different tokens."""
    bpe = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "dropout": 1.0}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": bpe}), encoding="utf-8")
    assert Tokenizer.load(tmp_path).encode("abab", add_special_tokens=False).ids == (2, 2)


def test_a_folder_without_a_tokenizer_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"has no tokenizer\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "cannot be used as a tokenizer"),
        ('{"model": {"type": "BPE"}}', "cannot be used as a tokenizer"),
    ],
)
def test_a_malformed_tokenizer_is_rejected(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError, match=complaint):
        Tokenizer.load(tmp_path)


def template_with(special_token: str) -> dict[str, object]:
    single = [{"SpecialToken": {"id": special_token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    defined = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": defined}


def charsmap(data: bytes) -> dict[str, object]:
    return {"type": "Precompiled", "precompiled_charsmap": b64encode(data).decode()}


def split(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def steps(kind: str, step: object) -> dict[str, object]:
    return {"type": "Sequence", kind: [step]}


TINY_BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
BAD_TOKENIZERS: dict[str, tuple[dict[str, object], str]] = {
    "merges without the prefix": (
        {"model": {**TINY_BPE, "continuing_subword_prefix": "##"}},
        "the merge ['a', 'b'] does not continue a word with the prefix '##'",
    ),
    "merges of text without the prefix": (
        {"model": {**TINY_BPE, "merges": ["a b"], "continuing_subword_prefix": "##"}},
        "the merge 'a b' does not continue a word with the prefix '##'",
    ),
    "an end of words that is longer than its tokens": (
        {"model": {**TINY_BPE, "vocab": {"a": 0}, "merges": [["a", "a"]], "end_of_word_suffix": "</w>"}},
        "",
    ),
    "a huge id": ({"model": {**TINY_BPE, "vocab": {"a": 0, "b": 1, "ab": 2**31}}}, "it has the token id 2147483648"),
    "a huge id of an added token": (
        {"added_tokens": [{"id": 2**31, "content": "x"}], "model": TINY_BPE},
        "it has the token id 2147483648",
    ),
    "a template with an undefined token": (
        {"post_processor": steps("processors", template_with("<bos>")), "model": TINY_BPE},
        "its post-processor inserts the token '<bos>', which it does not define",
    ),
    "a truncated map of characters": (
        {"normalizer": steps("normalizers", charsmap(b"\xff\xff\xff\x7f")), "model": TINY_BPE},
        "its normalizer has a precompiled_charsmap of 4 bytes, which is truncated",
    ),
    "a map of characters that is not base64": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}, "model": TINY_BPE},
        "its normalizer has a precompiled_charsmap that is not base64",
    ),
    "a map of characters that is not UTF-8": ({"normalizer": charsmap(bytes(4) + b"\xff\xff"), "model": TINY_BPE}, ""),
    "pieces without a length": ({"pre_tokenizer": {"type": "FixedLength", "length": 0}, "model": TINY_BPE}, ""),
    "no unknown word": ({"model": {"type": "WordLevel", "vocab": {"the": 0}, "unk_token": "?"}}, ""),
    "no unknown piece": ({"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": None}}, ""),
    "an unknown piece that is not there": ({"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}}, ""),
    "an expression that is not closed": ({"pre_tokenizer": split("("), "model": TINY_BPE}, ""),
}


@pytest.mark.parametrize(("content", "complaint"), BAD_TOKENIZERS.values(), ids=BAD_TOKENIZERS)
def test_a_tokenizer_on_which_the_library_fails_or_panics_is_rejected_in_one_sentence(
    tmp_path: Path, content: dict[str, object], complaint: str
) -> None:
    """Some ended in a traceback, some ended the process."""
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], **content}), encoding="utf-8")
    with pytest.raises(ModelFolderError) as rejection:
        Tokenizer.load(tmp_path)
    assert str(rejection.value).startswith(f"{path} cannot be used as a tokenizer: {complaint}")
    assert "\n" not in str(rejection.value)


def panicking() -> Tokenizer:
    """A tokenizer whose expression matches some texts so slowly that the library gives up, with a panic."""
    state = json.loads(byte_level().to_str())
    state["pre_tokenizer"] = split("(a+)+b")
    return Tokenizer(LibraryTokenizer.from_str(json.dumps(state)), {})


@pytest.mark.parametrize("prefix", ["", "<|im_start|>"])
def test_a_text_on_which_the_library_panics_is_not_encodable(prefix: str) -> None:
    """A panic is not an Exception, so the call was never answered."""
    tokenizer, text = panicking(), prefix + "a" * 40
    with pytest.raises(TextNotEncodable, match="the model's tokenizer fails on this text; change or shorten it"):
        tokenizer.encode(text, add_special_tokens=False)
    with pytest.raises(TextNotEncodable):
        tokenizer.encode_prompt(RenderedPrompt(text=text, boundaries=(1, 2)))
    assert tokenizer.encode("aab", add_special_tokens=False).ids


@pytest.mark.parametrize(("content", "complaint"), [("{", "is not valid JSON"), ("[]", "must hold a JSON object")])
def test_a_malformed_tokenizer_configuration_is_rejected(tmp_path: Path, content: str, complaint: str) -> None:
    save(tmp_path, byte_level())
    (tmp_path / "tokenizer_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError, match=complaint):
        Tokenizer.load(tmp_path)


def test_a_decoder_whose_bytes_depend_on_neighboring_tokens_is_rejected(tmp_path: Path) -> None:
    state = json.loads(byte_level().to_str())
    state["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"a decoder step that is not supported: .*WordPiece"):
        Tokenizer.load(tmp_path)


# Control strings that a caller writes in a prompt


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "words"])
@settings(max_examples=50)
@given(data=st.data())
def test_only_control_strings_of_the_template_become_control_tokens(name: str, data: st.DataObject) -> None:
    assert_only_the_template_makes_control_tokens(load(name), data)


@pytest.mark.parametrize("name", ["byte_level", "digits", "numbers", "cases", "large"])
@settings(max_examples=50)
@given(data=st.data())
def test_decoding_the_tokens_of_a_prompt_returns_the_prompt(name: str, data: st.DataObject) -> None:
    assert_decoding_returns_the_prompt(load(name), data)


@pytest.mark.parametrize("name", DECODED)
@settings(max_examples=50)
@given(text=TEXTS, boundaries=st.sets(st.integers(0, 40)))
def test_a_prompt_without_control_strings_is_encoded_as_the_library_does(
    name: str, text: str, boundaries: set[int]
) -> None:
    assert_encoded_as_the_library_does(load(name), text, boundaries)


def test_only_the_stretch_around_a_forged_control_string_is_encoded_again() -> None:
    tokenizer = load("large")
    prompt = RenderedPrompt(text="<|im_start|>a\n\n<|im_end|><|im_start|>b<|im_end|>c<|im_end|>", boundaries=(39,))
    tokens = [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode_prompt(prompt).ids]
    assert tokens == [
        *(b"<|im_start|>", b"a", b"\n\n", b"<|im_end|>", b"<|im_start|>"),
        *(b"b", b"<", b"|", b"im", b"_", b"en", b"d", b"|", b">", b"c", b"<|im_end|>"),
    ]


def test_a_stretch_inside_a_prompt_gets_no_leading_space() -> None:
    tokenizer = load("unigram")
    prompt = RenderedPrompt(text="</s>a<s>b", boundaries=(6,))
    assert tokenizer.decode(tokenizer.encode_prompt(prompt).ids, keep_special_tokens=True) == prompt.text
