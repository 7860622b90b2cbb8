"""A small tokenizer.json that takes much memory or time is rejected in one sentence, before the library reads it."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from onward_server.errors import ModelFolderError
from onward_server.json_value import Json
from onward_server.model import tokenizer_file
from onward_server.model.bounded import tokenizer_trial
from onward_server.model.tokenizer import Tokenizer
from onward_server.model.tokenizer_growth import growth_faults

BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}


def replacing(pattern: str, content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def matching(expression: str, content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": {"Regex": expression}, "content": content}


def split(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def sequence(kind: str, steps: list[dict[str, object]]) -> dict[str, object]:
    return {"type": "Sequence", kind: steps}


def charsmap(replacements: bytes) -> dict[str, object]:
    return {"type": "Precompiled", "precompiled_charsmap": b64encode(bytes(4) + replacements).decode()}


def template(pieces: int, ids: int) -> dict[str, object]:
    special = {"<s>": {"id": "<s>", "ids": [0] * ids, "tokens": ["a"] * ids}}
    single = [{"Sequence": {"id": "A", "type_id": 0}}] * pieces
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special}


def added(token_id: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": token_id, "content": f"<{token_id}>", **flags}


DOUBLED_40_TIMES = sequence("normalizers", [replacing("a", "aa")] * 40)
COUNTED: dict[str, tuple[dict[str, object], str]] = {
    "replacements that double": ({"normalizer": DOUBLED_40_TIMES}, "its normalizer can make a text more than 64 times"),
    "nested replacements": (
        {"normalizer": sequence("normalizers", [sequence("normalizers", [replacing("a", "aa")] * 7)])},
        "its normalizer can make a text more than 64 times",
    ),
    "a long replacement": ({"normalizer": replacing("\u2603", "x" * 65)}, "its normalizer can make a text more than"),
    "a long replacement of matches": ({"normalizer": matching("a", "x" * 65)}, "its normalizer can make a text"),
    "a replacement of nothing": (
        {"normalizer": sequence("normalizers", [replacing("", "x")] * 7)},
        "its normalizer can make a text more than 64 times",
    ),
    "a long prefix": ({"normalizer": {"type": "Prepend", "prepend": "x" * 65}}, "its normalizer can make a text more"),
    "a long replacement in a map": ({"normalizer": charsmap(b"a\0" + b"x" * 65 + b"\0")}, "its normalizer can make"),
    "a decoder that doubles": (
        {"decoder": sequence("decoders", [replacing("a", "aa")] * 40)},
        "its decoder can make a text more than 64 times as long",
    ),
    "a template of many pieces": ({"post_processor": template(65, 0)}, "its post-processor has a template of more"),
    "a template in a sequence": (
        {"post_processor": sequence("processors", [template(65, 0)])},
        "its post-processor has a template of more than 64 pieces",
    ),
    "a template that inserts much": (
        {"post_processor": template(1, 4097)},
        "its post-processor inserts more than 4096",
    ),
    "many steps after encoding": (
        {"post_processor": sequence("processors", [template(1, 0)] * 65)},
        "its post-processor has more than 64 steps",
    ),
    "a token of many characters": (
        {"model": {**BPE, "vocab": {"a": 0, "b" * 16_385: 1}, "merges": []}},
        "it has a token of 16,385 characters; 16,384 are allowed",
    ),
    "an added token of many characters": (
        {"added_tokens": [{**added(3), "content": "x" * 16_385}]},
        "it has a token of 16,385 characters",
    ),
    "tokens of many characters in all": (
        {"added_tokens": [{**added(3 + index), "content": f"{index:016384}"} for index in range(513)]},
        "its tokens have 8,404,992 characters in all; 8,388,608 are allowed",
    ),
    "many prefixes": (
        {"normalizer": sequence("normalizers", [{"type": "Prepend", "prepend": "x"}] * 257)},
        "its normalizer has more than 256 steps",
    ),
    "many steps before encoding": (
        {"pre_tokenizer": sequence("pretokenizers", [{"type": "Whitespace"}] * 257)},
        "its pre_tokenizer has more than 256 steps",
    ),
    "a piece of many characters": (
        {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a" * 16_385, -1.0]]}},
        "it has a token of 16,385 characters",
    ),
}
TRIED: dict[str, tuple[dict[str, object], str]] = {
    "an exponential expression": (
        {"pre_tokenizer": split("(a+)+b")},
        "its normalizer or pre-tokenizer fails on a text",
    ),
    "an exponential expression of an odd character": (
        {"normalizer": matching("(\u2603+)+b", "")},
        "its normalizer or pre-tokenizer fails on a text of 8,192 times '\u2603'",
    ),
    "matches of nothing": (
        {"normalizer": sequence("normalizers", [matching("q*", "z")] * 40)},
        "trying its normalizer and pre-tokenizer on texts of 8,192 characters failed: it takes more than",
    ),
    "many expressions": (
        {
            "normalizer": sequence("normalizers", [matching("a", "")] * 129),
            "pre_tokenizer": sequence("pretokenizers", [split("a")] * 128),
        },
        "it has more than 256 patterns",
    ),
}


def load(folder: Path, content: dict[str, object]) -> Tokenizer:
    parts: dict[str, object] = {"version": "1.0", "added_tokens": [], "model": BPE, **content}
    (folder / "tokenizer.json").write_text(json.dumps(parts), encoding="utf-8")
    return Tokenizer.load(folder)


@pytest.mark.parametrize("name", COUNTED)
def test_a_tokenizer_that_makes_texts_too_long_is_rejected(tmp_path: Path, name: str) -> None:
    """Loading some of them ended the process, because Rust cannot go on without memory."""
    content, complaint = COUNTED[name]
    with pytest.raises(ModelFolderError) as rejection:
        load(tmp_path, content)
    assert str(rejection.value).startswith(f"{tmp_path}/tokenizer.json cannot be used as a tokenizer: {complaint}")


@pytest.mark.parametrize("name", TRIED)
def test_a_tokenizer_with_slow_patterns_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(tokenizer_trial, "_LIMITS", replace(tokenizer_trial._LIMITS, processor_s=1))
    content, complaint = TRIED[name]
    with pytest.raises(ModelFolderError) as rejection:
        load(tmp_path, content)
    assert str(rejection.value).startswith(f"{tmp_path}/tokenizer.json cannot be used as a tokenizer: {complaint}")
    assert "\n" not in str(rejection.value)


@pytest.mark.parametrize(
    ("limit", "complaint"), [("_MAX_TOKENS", "it has 3 tokens; 2 are allowed"), ("_MAX_ADDED", "")]
)
def test_the_number_of_tokens_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, complaint: str
) -> None:
    monkeypatch.setattr(tokenizer_file, limit, 2)
    with pytest.raises(ModelFolderError, match=complaint or "it has 3 added tokens; 2 are allowed"):
        load(tmp_path, {"added_tokens": [added(3 + index) for index in range(3)]})


def test_a_file_of_countless_values_is_rejected_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_file, "_MAX_VALUES", 1000)
    with pytest.raises(ModelFolderError, match="it has more than 1,000 values"):
        load(tmp_path, {"added_tokens": [[]] * 1000})


def test_padding_and_truncation_are_not_applied_while_loading(tmp_path: Path) -> None:
    """Padding the trial text to 10^12 tokens ended the process."""
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}
    cut = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    rest = {"pad_to_multiple_of": None}
    tokenizer = load(tmp_path, {"padding": {**padding, **rest}, "truncation": cut})
    assert tokenizer.encode("abab", add_special_tokens=False).ids == (2, 2)


PUBLIC_PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "capitals": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "digits from the right": r"(?=(\d{3})+(?!\d))",
}


@pytest.mark.parametrize("name", PUBLIC_PATTERNS)
def test_patterns_of_public_tokenizers_pass(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, {"pre_tokenizer": split(PUBLIC_PATTERNS[name])}).vocabulary_size == 3


@pytest.mark.parametrize(
    "normalizer",
    [
        replacing(" ", "\u2581"),
        {"type": "Prepend", "prepend": "\u2581"},
        charsmap("a\0\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647\0".encode()),
        {"type": "NFKC"},
    ],
    ids=["space symbols", "a space symbol before", "a map as of NFKC", "NFKC"],
)
def test_normalizers_of_public_tokenizers_are_not_counted_as_growing(normalizer: dict[str, Json]) -> None:
    assert not list(growth_faults({"normalizer": {"type": "Sequence", "normalizers": [normalizer]}}))
