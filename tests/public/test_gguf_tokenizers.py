"""Tokenizers that are converted from the metadata of a GGUF file encode as the original ones do."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.export.tokenizers.conversion import convert_tokenizer
from onward_server.export.tokenizers.vocabulary import TokenType
from tests.gguf_vocabularies import GGML, byte_level_metadata, pieces_metadata
from tests.sample_tokenizers import CORPUS

_CHARACTERS = [
    *"aZ'sé 19.,!\n\t日本カ한й😀ก▁<>|/",
    "  ",
    "    ",
    "\r\n",
    "'ll",
    "e\u0301",
    "½",
    "</",
    "s>",
    "im_",
    "the ",
]


@pytest.mark.parametrize("name", ["tok-smollm2", "stories260K/onnx"])
def test_a_converted_tokenizer_encodes_and_decodes_as_the_original_does(data: Path, name: str) -> None:
    original = LibraryTokenizer.from_file(str(data / name / "tokenizer.json"))
    metadata = (
        byte_level_metadata(original, "smollm") if name == "tok-smollm2" else pieces_metadata(original, bos_token_id=1)
    )
    converted = _converted(metadata)
    controls = [token.content for token in original.get_added_tokens_decoder().values()]
    for text in _texts(name, controls):
        ids = original.encode(text, add_special_tokens=False).ids
        assert converted.encode(text, add_special_tokens=False).ids == ids, text
        assert converted.decode(ids) == original.decode(ids)
        assert converted.encode(text).ids == original.encode(text).ids


def test_prompts_of_mistral_have_the_ids_of_its_own_tokenizer(data: Path) -> None:
    folder = data / "tok-mistral-v3"
    converted = _converted(_sentencepiece_metadata(folder / "mistral_instruct_tokenizer_240323.model.v3"))
    samples = sorted(folder.glob("samples/*/tokens_v3.json"))
    assert len(samples) >= 6
    for sample in samples:
        shown = sample.with_name("text_v3.txt").read_text(encoding="utf-8")
        text = shown.replace("▁", " ").replace("<0x0A>", "\n")
        expected = json.loads(sample.read_text(encoding="utf-8"))["tokens"]
        assert converted.encode(text, add_special_tokens=False).ids == expected, sample.parent.name


def _converted(metadata: Mapping[str, object]) -> LibraryTokenizer:
    return LibraryTokenizer.from_str(convert_tokenizer(metadata).files["tokenizer.json"])


def _texts(name: str, controls: list[str]) -> Iterator[str]:
    random = Random(name)
    yield from CORPUS
    for _ in range(1000):
        yield "".join(random.choices([*_CHARACTERS, *random.choices(controls, k=3)], k=random.randint(1, 24)))


def _sentencepiece_metadata(model: Path) -> dict[str, object]:
    """The metadata that the reference conversion writes for a SentencePiece model, which is a protocol buffer."""
    pieces = [dict(_fields(piece)) for number, piece in _fields(model.read_bytes()) if number == 1]
    return {
        f"{GGML}.model": "llama",
        f"{GGML}.tokens": [piece[1].decode() for piece in pieces],
        f"{GGML}.scores": [struct.unpack("<f", struct.pack("<I", piece[2]))[0] for piece in pieces],
        f"{GGML}.token_type": [piece.get(3, TokenType.NORMAL.value) for piece in pieces],
    }


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of the fields."""
    for field in UnknownFieldSet(Empty.FromString(message)):
        yield field.field_number, field.data
