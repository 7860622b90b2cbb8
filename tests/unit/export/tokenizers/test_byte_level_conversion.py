"""Tokenizers of the model `gpt2`."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.export.tokenizers.conversion import convert_tokenizer
from onward_server.export.tokenizers.pre_tokenizers import pre_tokenizer_named
from tests import sample_tokenizers
from tests.gguf_vocabularies import GGML, byte_level_metadata

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def gpt2() -> LibraryTokenizer:
    return sample_tokenizers.byte_level()


def smollm() -> LibraryTokenizer:
    return sample_tokenizers.digits()


def llama3() -> LibraryTokenizer:
    tokenizer = sample_tokenizers.numbers()
    tokenizer.pre_tokenizer = _split(_LLAMA3)
    return tokenizer


def qwen2() -> LibraryTokenizer:
    tokenizer = sample_tokenizers.composed()
    tokenizer.pre_tokenizer = _split(_LLAMA3.replace("{1,3}", ""))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


ORIGINALS: dict[str, Callable[[], LibraryTokenizer]] = {
    "default": gpt2,
    "gpt-2": gpt2,
    "smollm": smollm,
    "llama-bpe": llama3,
    "qwen2": qwen2,
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_converted_tokenizer_encodes_and_decodes_as_the_original_does(name: str) -> None:
    original = ORIGINALS[name]()
    starts = {"bos_token_id": 0} if name == "llama-bpe" else {}
    converted = _converted(byte_level_metadata(original, name, **starts))
    texts = list(_random_texts(name, original))
    assert any(len(original.encode(text).ids) > 10 for text in texts)
    for text in texts:
        ids = original.encode(text).ids
        assert converted.encode(text).ids == ids, text
        assert converted.decode(ids, skip_special_tokens=False) == original.decode(ids, skip_special_tokens=False)
        assert converted.decode(ids) == original.decode(ids)


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt-2", "I'll pay  1234", "I|'ll|·pay|·|·1234"),
        ("gpt-2", "I'LL\n\n x", "I|'|LL|¶¶|·x"),
        ("smollm", "a 12 'S\n", "a|·|1|2|·'|S|¶"),
        ("starcoder", "x1  y", "x|1|·|·y"),
        ("command-r", "e\u0301 12", "é|·|1|2"),
        ("olmo", "e\u0301 12", "é|·12"),
        ("llama-bpe", "I'LL  pay 1234\n\nx", "I|'LL|·|·pay|·|123|4|¶¶|x"),
        ("dbrx", "(a)\n b", "(a|)¶|·b"),
        ("qwen2", "e\u0301t 12", "ét|·|1|2"),
        ("qwen35", "x\u0e01\u0e33\u0e31 1", "x\u0e01\u0e33\u0e31|·|1"),
        ("gpt-4o", "HTMLParser isn't 1234 a/\nb", "HTMLParser|·isn't|·|123|4|·a|/¶|b"),
        ("llama4", "iPhone XLs", "i|Phone|·XLs"),
        ("tekken", "HTMLParser isn't 12", "HTMLParser|·isn|'t|·|1|2"),
        ("deepseek-coder", "a 日本12\r\n", "a|·|日本|1|2|\r|¶"),
        ("deepseek-llm", "a 日本12, b \n", "a|·|日本|1|2|,|·b|·|¶"),
        ("deepseek-v3", "日本a1234 (b", "日本|a|123|4|·(|b"),
        ("falcon", "a, b 12345!!", "a|,|·b|·|123|45|!!"),
        ("bloom", "a, b. c", "a|,|·b|.|·c"),
        ("viking", "a 12", "a|·|1|2"),
        ("minicpm5", "a 1234", "a|·|123|4"),
        ("tiny_aya", "a 1234567", "a|·|1|234|567"),
        ("superbpe", "ab 1234567 c", "ab·|1|234|567|·c"),
        ("seed-coder", "a!!\n b", "a|!!|¶|·b"),
        ("bailingmoe", "'ll \n\n", "'ll|·¶¶"),
        ("youtu", "한국 ＡＢ漢字12", "한국|·ＡＢ|漢字|1|2"),  # noqa: RUF001  (full-width letters)
    ],
)
def test_a_text_is_split_as_the_original_splits_it(name: str, text: str, pieces: str) -> None:
    """Spaces are shown as `·`, line breaks as `¶`."""
    state = json.loads(LibraryTokenizer.from_str(_state(name)).to_str())
    tokenizer = LibraryTokenizer.from_str(json.dumps(state))
    normalized = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    spans = [span for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
    shown = "|".join(normalized[start:end] for start, end in spans).replace(" ", "·").replace("\n", "¶")
    assert shown == pieces


@pytest.mark.parametrize(
    ("name", "is_whole"), [("llama-bpe", True), ("glm4", True), ("smaug-bpe", True), ("dbrx", False)]
)
def test_a_word_of_the_vocabulary_is_one_token_where_the_original_ignores_merges(name: str, *, is_whole: bool) -> None:
    metadata = byte_level_metadata(gpt2(), name)
    tokens = [*_tokens(metadata), "zqx"]
    metadata |= {f"{GGML}.tokens": tokens, f"{GGML}.token_type": [*_types(metadata), 1]}
    assert (_converted(metadata).encode("zqx").tokens == ["zqx"]) is is_whole


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("gpt-2", {}, ["a"]),
        ("gpt-2", {"add_bos_token": True}, ["<|im_start|>", "a"]),
        ("gpt-2", {"add_bos_token": True, "add_eos_token": True}, ["<|im_start|>", "a", "<|im_end|>"]),
        ("llama-bpe", {}, ["<|im_start|>", "a"]),
        ("llama-bpe", {"add_bos_token": False}, ["a"]),
        ("smaug-bpe", {}, ["a"]),
        ("tekken", {}, ["<|im_start|>", "a"]),
        ("tekken", {"add_eos_token": True}, ["<|im_start|>", "a", "<|im_end|>"]),
    ],
    ids=str,
)
def test_tokens_are_put_around_a_text_as_the_file_says(
    name: str, values: dict[str, object], expected: list[str]
) -> None:
    metadata = byte_level_metadata(gpt2(), name, bos_token_id=0, eos_token_id=1, **values)
    tokenizer = _converted(metadata)
    assert tokenizer.encode("a").tokens == expected
    assert tokenizer.encode("a", add_special_tokens=False).tokens == ["a"]


def test_user_defined_tokens_are_matched_whole_and_kept_when_special_tokens_are_skipped() -> None:
    tokenizer = _converted(byte_level_metadata(gpt2(), "gpt-2"))
    encoding = tokenizer.encode("<think>a</think>\n\n<|im_end|>")
    assert encoding.tokens == ["<think>", "a", "</think>", "\n\n", "<|im_end|>"]
    assert tokenizer.decode(encoding.ids) == "<think>a</think>\n\n"


def test_unused_and_empty_tokens_are_left_out() -> None:
    metadata = byte_level_metadata(gpt2(), "gpt-2")
    tokens = _tokens(metadata)
    metadata |= {
        f"{GGML}.tokens": [*tokens, "[PAD0]", "", "", "<|last|>"],
        f"{GGML}.token_type": [*_types(metadata), 5, 1, 1, 3],
    }
    tokenizer = _converted(metadata)
    assert [tokenizer.id_to_token(len(tokens) + i) for i in range(4)] == [None, None, None, "<|last|>"]
    assert tokenizer.encode("<|last|>").ids == [len(tokens) + 3]


def _converted(metadata: dict[str, object]) -> LibraryTokenizer:
    return LibraryTokenizer.from_str(convert_tokenizer(metadata).files["tokenizer.json"])


def _state(name: str) -> str:
    """A tokenizer.json with nothing but the pre-tokenizer of a name."""
    pre_tokenizer = pre_tokenizer_named(name)
    sections = {"normalizer": pre_tokenizer.normalizer, "pre_tokenizer": pre_tokenizer.state}
    return json.dumps(
        {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}} | sections
    )


def _tokens(metadata: dict[str, Any]) -> list[str]:
    return metadata[f"{GGML}.tokens"]


def _types(metadata: dict[str, Any]) -> list[int]:
    return metadata[f"{GGML}.token_type"]


def _split(expression: str) -> pre_tokenizers.PreTokenizer:
    steps = [pre_tokenizers.Split(Regex(expression), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]  # noqa: FBT003
    return pre_tokenizers.Sequence(steps)


def _random_texts(name: str, tokenizer: LibraryTokenizer) -> list[str]:
    """Texts of words, control tokens, digits, white space and characters of many scripts."""
    random = Random(name)
    controls = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    parts = [
        *controls,
        *sample_tokenizers.CORPUS[:40],
        *"aZ'sé 19.,!\n\t日本カ한й😀ก",
        "  ",
        "\r\n",
        "'ll",
        "e\u0301",
        "½",
    ]
    return ["".join(random.choices(parts, k=random.randint(1, 12))) for _ in range(60)]
