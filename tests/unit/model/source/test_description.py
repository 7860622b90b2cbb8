"""Sizes, lengths and ends of sequence are found wherever public exports have them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.source.description import Description, decoder_named_by

Files = Mapping[str, object]

LENGTHS: dict[str, tuple[Files, int]] = {
    "config.json": ({"config.json": {"max_position_embeddings": 40960}}, 40960),
    "GPT-2": ({"config.json": {"n_positions": 1024, "n_ctx": 512}}, 1024),
    "MPT": ({"config.json": {"max_seq_len": 2048}}, 2048),
    "BLOOM, ChatGLM": ({"config.json": {"seq_length": 8192}}, 8192),
    "OpenELM": ({"config.json": {"max_context_length": 2048}}, 2048),
    "Gemma 3": ({"config.json": {"text_config": {"max_position_embeddings": 131072}, "vision_config": {}}}, 131072),
    "InternVL": ({"config.json": {"llm_config": {"max_position_embeddings": 32768}}}, 32768),
    "genai_config.json": ({"genai_config.json": {"model": {"context_length": 131072}}}, 131072),
    "genai_config.json comes first": (
        {"genai_config.json": {"model": {"context_length": 4096}}, "config.json": {"max_position_embeddings": 8192}},
        4096,
    ),
    "genai_config.json without a length": ({"genai_config.json": {"model": {}, "search": {"max_length": 2048}}}, 2048),
    "tokenizer_config.json": ({"config.json": {}, "tokenizer_config.json": {"model_max_length": 2048}}, 2048),
}


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("case", LENGTHS)
def test_the_context_length_has_many_names(tmp_path: Path, case: str) -> None:
    files, length = LENGTHS[case]
    assert Description.read(write(tmp_path, files)).context_length == length


@pytest.mark.parametrize("length", [1e30, 1000000000000000019884624838656, -1, "2048", None])
def test_a_placeholder_in_tokenizer_config_is_no_length(tmp_path: Path, length: object) -> None:
    write(tmp_path, {"config.json": {}, "tokenizer_config.json": {"model_max_length": length}})
    with pytest.raises(ModelFolderError, match="the context length is unknown; set max_position_embeddings"):
        Description.read(tmp_path)


def read_config(folder: Path, config: Files, genai_decoder: Files | None = None) -> Mapping[str, object]:
    files: dict[str, object] = {"config.json": {"max_position_embeddings": 8, **config}}
    if genai_decoder is not None:
        files["genai_config.json"] = {"model": {"decoder": genai_decoder}}
    return Description.read(write(folder, files)).config


def test_the_text_part_of_a_multimodal_model_wins(tmp_path: Path) -> None:
    config = read_config(tmp_path, {"vocab_size": 9, "model_type": "x", "text_config": {"vocab_size": 262208}})
    assert (config["vocab_size"], config["model_type"]) == (262208, "x")


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ({"n_head": 12, "n_embd": 768}, {"num_attention_heads": 12, "hidden_size": 768}),
        ({"n_heads": 32, "d_model": 4096}, {"num_attention_heads": 32, "hidden_size": 4096}),
        ({"num_kv_heads": 8}, {"num_key_value_heads": 8}),
        ({"multi_query_group_num": 2, "kv_channels": 128}, {"num_key_value_heads": 2, "head_dim": 128}),
        ({"padded_vocab_size": 65024}, {"vocab_size": 65024}),
        ({"hidden_size": 64, "n_embd": 32}, {"hidden_size": 64}),
    ],
    ids=["GPT-2", "MPT", "Falcon", "ChatGLM", "ChatGLM's vocabulary", "two names"],
)
def test_sizes_have_their_common_names(tmp_path: Path, written: Files, names: Files) -> None:
    config = read_config(tmp_path, written)
    assert {name: config[name] for name in names} == names


def test_genai_config_fills_what_config_leaves_out(tmp_path: Path) -> None:
    config = read_config(tmp_path, {"hidden_size": 64}, {"head_size": 16, "hidden_size": 32})
    assert (config["head_dim"], config["hidden_size"]) == (16, 64)


ADDED = {"2": {"content": "</s>"}, "7": {"content": "<|im_end|>"}}
ENDS: dict[str, tuple[Files, set[int]]] = {
    "every file that names one": (
        {"generation_config.json": {"eos_token_id": [1, 106]}, "config.json": {"eos_token_id": 3}},
        {1, 3, 106},
    ),
    "text_config": ({"config.json": {"text_config": {"eos_token_id": 1}}}, {1}),
    "genai_config.json": ({"genai_config.json": {"model": {"eos_token_id": [5, 6]}}}, {5, 6}),
    "tokenizer_config.json": (
        {"tokenizer_config.json": {"eos_token": "<|im_end|>", "added_tokens_decoder": ADDED}},
        {7},
    ),
    "an object in tokenizer_config.json": (
        {"tokenizer_config.json": {"eos_token": {"content": "</s>"}, "added_tokens_decoder": ADDED}},
        {2},
    ),
    "tokenizer_config.json comes last": (
        {
            "config.json": {"eos_token_id": 3},
            "tokenizer_config.json": {"eos_token": "</s>", "added_tokens_decoder": ADDED},
        },
        {3},
    ),
    "no file": ({"config.json": {"eos_token_id": None}, "tokenizer_config.json": {"eos_token": None}}, set()),
}


@pytest.mark.parametrize("case", ENDS)
def test_ends_of_sequence_are_those_that_files_name(tmp_path: Path, case: str) -> None:
    files, token_ids = ENDS[case]
    write(tmp_path, {"config.json": {}, **files})
    config: dict[str, object] = json.loads((tmp_path / "config.json").read_text())
    write(tmp_path, {"config.json": {"max_position_embeddings": 8, **config}})
    assert Description.read(tmp_path).eos_token_ids == token_ids


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        ({"model": {"decoder": {"filename": "phi.onnx"}}}, "phi.onnx"),
        ({"model": {"decoder": {"filename": "text/model.onnx"}}}, "text/model.onnx"),
        ({"model": {"decoder": {"pipeline": []}}}, None),
        ({"model": []}, None),
    ],
)
def test_genai_config_may_name_the_decoder(tmp_path: Path, content: Files, filename: str | None) -> None:
    write(tmp_path, {"genai_config.json": content})
    assert decoder_named_by(tmp_path / "genai_config.json") == filename
