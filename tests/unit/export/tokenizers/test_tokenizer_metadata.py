"""Metadata of tokenizers: what is rejected, and what becomes of tokens that the file names and of chat templates."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from onward_server.completion.prompt.template_sources import folder_templates
from onward_server.errors import ExportError
from onward_server.export.tokenizers.conversion import convert_tokenizer
from onward_server.model.tokenizer import Tokenizer
from tests import sample_tokenizers
from tests.gguf_vocabularies import GGML, byte_level_metadata, pieces_metadata

_MISSING = object()


def gpt2(**values: object) -> dict[str, object]:
    """Tokens `a`, `b`, `ab` and a control token; a value `_MISSING` takes its key away."""
    base: dict[str, object] = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": ["a", "b", "ab", "<|end|>"],
        "token_type": [1, 1, 1, 3],
        "merges": ["a b"],
    }
    return {f"{GGML}.{key}": value for key, value in (base | values).items() if value is not _MISSING}


def llama(**values: object) -> dict[str, object]:
    """Tokens `<unk>`, `<s>`, `</s>`, `a` and `aa`."""
    base: dict[str, object] = {
        "model": "llama",
        "tokens": ["<unk>", "<s>", "</s>", "a", "aa"],
        "scores": [0.0, 0.0, 0.0, -1.0, -2.0],
        "token_type": [2, 3, 3, 1, 1],
    }
    return {f"{GGML}.{key}": value for key, value in (base | values).items() if value is not _MISSING}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "model: missing; the file has no tokenizer"),
        (gpt2(model=7), "model: 7 is not a string"),
        (gpt2(model="bert"), "model: 'bert' is not a supported tokenizer; they are gpt2 and llama"),
        (gpt2(model="t5"), "model: 't5' is not"),
        (gpt2(model="rwkv"), "model: 'rwkv' is not"),
        (gpt2(pre="kimi-k2"), "pre: 'kimi-k2' is not a supported pre-tokenizer; they are a.x-4.0, bailingmoe, "),
        (gpt2(pre=["gpt-2"]), "pre: ['gpt-2'] is not a string"),
        (gpt2(tokens=_MISSING), "tokens: missing"),
        (gpt2(tokens=[]), "tokens: empty"),
        (gpt2(tokens="ab"), "tokens: 'ab' is not an array"),
        (gpt2(tokens=["a", 1, "b", "c"]), "tokens[1]: 1 is not a string"),
        (gpt2(tokens=["a", "\udc80", "b", "c"]), r"tokens[1]: '\udc80' is not valid Unicode"),
        (gpt2(tokens=["a", "b", "ab", "a"]), "tokens[3]: 'a' is also token 0; tokens must differ"),
        (gpt2(tokens=["a", "b", "ab", "c" * 20_000]), "tokens[3]: has 20,000 characters; 16,384 are allowed"),
        (
            gpt2(tokens=[f"{i:05}" * 3000 for i in range(600)]),
            "tokens: has 9,000,000 characters in all; 8,388,608 are allowed",
        ),
        (gpt2(token_type=[1, 1, 1]), "token_type: has 3 values for 4 tokens"),
        (gpt2(token_type=[1, 1, 1, 1, 1]), "token_type: has 5 values for 4 tokens"),
        (gpt2(token_type=[1, 1, 1, 9]), "token_type[3]: 9 is not a token type; they are 0 to 6"),
        (gpt2(token_type=[1, 1, 1, "3"]), "token_type[3]: '3' is not an integer"),
        (gpt2(token_type=[1, 1, 1, 1.0]), "token_type[3]: 1.0 is not an integer"),
        (gpt2(token_type=[1, 1, 1, True]), "token_type[3]: True is not an integer"),
        (gpt2(token_type=3), "token_type: 3 is not an array"),
        (gpt2(merges=_MISSING), "merges: missing; a tokenizer of the model gpt2 needs it"),
        (gpt2(merges=["ab"]), "merges[0]: 'ab' is not two tokens with a space between them"),
        (gpt2(merges=["a b", ""]), "merges[1]: '' is not two tokens"),
        (gpt2(merges=["a "]), "merges[0]: 'a ' is not two tokens"),
        (gpt2(merges=["a c"]), "merges[0]: 'a c' needs the token 'c', which the vocabulary lacks"),
        (gpt2(merges=["b a"]), "merges[0]: 'b a' needs the token 'ba', which the vocabulary lacks"),
        (gpt2(merges=["a b", 3]), "merges[1]: 3 is not a string"),
        (gpt2(bos_token_id=4), "bos_token_id: 4 is not a token id; the vocabulary has 4 tokens"),
        (gpt2(eos_token_id=-1), "eos_token_id: -1 is not a token id"),
        (gpt2(eot_token_id=2**32 - 1), "eot_token_id: 4294967295 is not a token id"),
        (gpt2(eom_token_id="3"), "eom_token_id: '3' is not a token id"),
        (gpt2(unknown_token_id=True), "unknown_token_id: True is not a token id"),
        (gpt2(padding_token_id=1.0), "padding_token_id: 1.0 is not a token id"),
        (gpt2(tokens=["a", "b", "ab", ""], bos_token_id=3), "bos_token_id: 3 is an empty token"),
        (gpt2(add_bos_token=True), "add_bos_token: true, but the file has no tokenizer.ggml.bos_token_id"),
        (gpt2(add_eos_token=True), "add_eos_token: true, but the file has no tokenizer.ggml.eos_token_id"),
        (gpt2(add_bos_token="yes"), "add_bos_token: 'yes' is not a boolean"),
        (llama(scores=_MISSING), "scores: missing; a tokenizer of the model llama needs it"),
        (llama(scores=[0.0] * 4), "scores: has 4 values for 5 tokens"),
        (llama(scores=[0.0] * 4 + [math.nan]), "scores[4]: nan is not a number"),
        (llama(scores=[0.0] * 4 + ["1"]), "scores[4]: '1' is not a number"),
        (llama(add_space_prefix=1), "add_space_prefix: 1 is not a boolean"),
        (
            llama(tokens=["b", "c", "d", "a", "aa"], token_type=[1] * 5),
            "token_type: the vocabulary has neither a token for each byte nor an unknown token",
        ),
        (
            llama(tokens=["<0x41>", "c", "d", "a", "aa"], token_type=[6, 1, 1, 1, 1]),
            "token_type: the vocabulary has neither a token for each byte nor an unknown token",
        ),
        ({**gpt2(), "tokenizer.chat_template": 3}, "tokenizer.chat_template: 3 is not a string"),
        ({**gpt2(), "tokenizer.chat_template": "\udc80"}, r"tokenizer.chat_template: '\udc80' is not valid Unicode"),
        ({**gpt2(), "tokenizer.chat_template.tools": [""]}, "tokenizer.chat_template.tools: [''] is not a string"),
        ({**gpt2(), "tokenizer.chat_template.../x": ""}, "tokenizer.chat_template.../x: '../x' cannot be a file name"),
        ({**gpt2(), "tokenizer.chat_template.": ""}, "tokenizer.chat_template.: '' cannot be a file name"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_metadata_that_cannot_be_converted_are_rejected_with_the_key(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError) as caught:
        convert_tokenizer(metadata)
    text = str(caught.value)
    assert text.removeprefix(f"{GGML}.").startswith(message)
    assert text.startswith("tokenizer.")
    assert len(text) < 1200


def test_a_vocabulary_of_too_many_merges_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onward_server.export.tokenizers.sentencepiece._MAX_MERGES", 10)
    runs = ["a" * length for length in range(1, 7)]
    metadata = llama(tokens=["<unk>", *runs], scores=[0.0] * 7, token_type=[2, *[1] * 6])
    with pytest.raises(ExportError, match=r"^tokenizer\.ggml\.tokens: more than 10 pairs of tokens make a token$"):
        convert_tokenizer(metadata)


def test_an_error_shows_the_start_of_a_long_value() -> None:
    with pytest.raises(ExportError, match=r"tokens: 'x{59}\.\.\. is not an array"):
        convert_tokenizer(gpt2(tokens="x" * 1_000_000))


def test_arrays_may_be_tuples_and_arrays_of_numpy() -> None:
    values = llama(
        tokens=("<unk>", "<s>", "</s>", "a", "aa"),
        scores=np.array([0, 0, 0, -1, -2], np.float32),
        token_type=np.array([2, 3, 3, 1, 1], np.int32),
        bos_token_id=np.uint32(1),
        add_bos_token=np.bool_(1),
    )
    assert convert_tokenizer(values) == convert_tokenizer(llama())


@pytest.mark.parametrize(
    ("tokens", "named", "ends"),
    [
        (["<|endoftext|>", "<|im_end|>"], {"eos_token_id": 1}, (1, 0)),
        (["<|begin|>", "<|stop|>", "<|pause|>"], {"eos_token_id": 1, "eot_token_id": 0, "eom_token_id": 2}, (1, 0, 2)),
        (["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"], {"eos_token_id": 1}, (1, 0, 2)),
        (["<|end|>", "<|return|>", "<|call|>"], {"eos_token_id": 1}, (1, 2)),
        (["<|end|>", "<|return|>"], {"eos_token_id": 1}, (1, 0)),
        (["<|im_start|>"], {}, ()),
    ],
    ids=str,
)
def test_every_token_that_ends_a_turn_is_found(
    tokens: list[str], named: dict[str, object], ends: tuple[int, ...]
) -> None:
    metadata = gpt2(tokens=[*tokens, "a"], token_type=[*[3] * len(tokens), 1], merges=[], **named)
    assert convert_tokenizer(metadata).eos_token_ids == ends


def test_a_token_that_can_only_be_the_end_of_a_turn_is_one_whatever_its_type() -> None:
    converted = convert_tokenizer(gpt2(tokens=["a", "b", "ab", "<|im_end|>"], token_type=[1] * 4))
    assert converted.eos_token_ids == (3,)
    assert json.loads(converted.files["tokenizer.json"])["added_tokens"][0]["special"] is True


def test_plain_text_that_looks_like_the_end_of_a_turn_does_not_end_it() -> None:
    assert convert_tokenizer(gpt2(tokens=["a", "b", "ab", "</s>"], token_type=[1] * 4)).eos_token_ids == ()


def test_llamas_own_control_tokens_are_known_where_the_file_does_not_name_them() -> None:
    converted = convert_tokenizer(llama())
    config = json.loads(converted.files["tokenizer_config.json"])
    assert (converted.bos_token_id, converted.eos_token_ids, converted.pad_token_id) == (1, (2,), None)
    assert (config["bos_token"], config["eos_token"], config["unk_token"]) == ("<s>", "</s>", "<unk>")


def test_named_tokens_are_control_tokens_whatever_their_type() -> None:
    metadata = gpt2(token_type=_MISSING, eos_token_id=3, padding_token_id=3)
    added = json.loads(convert_tokenizer(metadata).files["tokenizer.json"])["added_tokens"]
    assert [(token["id"], token["special"]) for token in added] == [(3, True)]


def test_an_unused_token_that_the_file_names_is_kept() -> None:
    converted = convert_tokenizer(gpt2(token_type=[1, 1, 1, 5], padding_token_id=3))
    assert json.loads(converted.files["tokenizer_config.json"])["pad_token"] == "<|end|>"
    assert converted.pad_token_id == 3


def test_the_server_reads_the_chat_templates(tmp_path: Path) -> None:
    templates = {
        "tokenizer.chat_template": "{{ messages }}\n",
        "tokenizer.chat_template.tool_use": "{{ tools }} 日本",
    }
    _write(convert_tokenizer(gpt2() | templates).files, tmp_path)
    assert folder_templates(tmp_path) == {"default": "{{ messages }}\n", "tool_use": "{{ tools }} 日本"}


def test_empty_chat_templates_are_left_out() -> None:
    templates = {"tokenizer.chat_template": "", "tokenizer.chat_template.tool_use": ""}
    assert convert_tokenizer(gpt2() | templates) == convert_tokenizer(gpt2())


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_server_loads_the_files(kind: str, tmp_path: Path) -> None:
    metadata = (
        byte_level_metadata(sample_tokenizers.digits(), "smollm", eos_token_id=2)
        if kind == "gpt2"
        else pieces_metadata(sample_tokenizers.bare_pieces(), add_space_prefix=False, eos_token_id=1)
    )
    _write(convert_tokenizer(metadata).files, tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    text = "Two cats, 12 dogs\n\n    and 日本語 😀"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, keep_special_tokens=True) == text
    assert tokenizer.named_tokens["eos_token"] in tokenizer.special_strings


def _write(files: Mapping[str, str], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
