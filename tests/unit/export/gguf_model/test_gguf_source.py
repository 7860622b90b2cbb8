"""GGUF files as sources: configuration, names and order of weights, descriptions, and what is rejected."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from onward_server.errors import ExportError
from onward_server.export.gguf_model.gguf_file import open_gguf
from onward_server.export.gguf_model.gguf_source import GgufSource, open_gguf_source, source_of
from onward_server.export.gguf_model.header_reader import Value
from onward_server.export.gguf_model.metadata import Metadata
from onward_server.export.tensors import read_floats
from onward_server.model.source.description import Description
from tests.gguf_files import Stored, random_blocks, write_gguf
from tests.gguf_models import (
    END,
    LLAMA_CONFIG,
    Floats,
    llama_tensors,
    metadata_of,
    plain_tensors,
    random_weights,
    write_llama,
)

UNTIED = replace(
    LLAMA_CONFIG,
    tied_embeddings=False,
    biases=frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}),
)


def opened(folder: Path, metadata: Mapping[str, object], tensors: Mapping[str, Stored]) -> GgufSource:
    return open_gguf_source(write_gguf(folder / "model.gguf", metadata, tensors))


def require_weights(source: GgufSource, expected: Mapping[str, Floats]) -> None:
    assert source.tensors.keys() == expected.keys()
    for name, tensor in source.tensors.items():
        assert tensor.shape == expected[name].shape
        np.testing.assert_array_equal(read_floats(tensor), expected[name], err_msg=name)


def test_a_llama_is_read_in_the_order_of_its_checkpoint(tmp_path: Path) -> None:
    weights = write_llama(tmp_path / "model.gguf")

    source = open_gguf_source(tmp_path / "model.gguf")

    assert source.config.layers[0].rope is not None
    rope = LLAMA_CONFIG.layers[0].rope
    assert rope is not None
    np.testing.assert_allclose(source.config.layers[0].rope.frequencies, rope.frequencies, rtol=1e-6)
    assert replace(source.config, layers=LLAMA_CONFIG.layers) == LLAMA_CONFIG
    require_weights(source, weights)


def test_biases_and_an_output_layer_are_found(tmp_path: Path) -> None:
    weights = write_llama(tmp_path / "model.gguf", UNTIED)

    source = open_gguf_source(tmp_path / "model.gguf")

    assert source.config.biases == UNTIED.biases
    assert not source.config.tied_embeddings
    require_weights(source, weights)


def test_ranges_of_reordered_rows_are_those_of_the_whole(tmp_path: Path) -> None:
    weights = write_llama(tmp_path / "model.gguf")
    query = open_gguf_source(tmp_path / "model.gguf").tensors["layers.0.q_proj.weight"]

    for start, stop in [(0, 1), (3, 9), (15, 33), (63, 64)]:
        np.testing.assert_array_equal(read_floats(query, start, stop), weights["layers.0.q_proj.weight"][start:stop])


def test_fused_projections_are_split(tmp_path: Path) -> None:
    weights = random_weights(replace(LLAMA_CONFIG, biases=frozenset({"q_proj", "k_proj", "v_proj"})))
    tensors = plain_tensors(weights)
    for index in range(2):
        for part in ("weight", "bias"):
            sides = [np.asarray(tensors.pop(f"blk.{index}.attn_{side}.{part}")) for side in "qkv"]
            tensors[f"blk.{index}.attn_qkv.{part}"] = np.concatenate(sides)
        halves = [np.asarray(tensors.pop(f"blk.{index}.ffn_{half}.weight")) for half in ("gate", "up")]
        tensors[f"blk.{index}.ffn_up.weight"] = np.concatenate(halves)

    source = opened(tmp_path, metadata_of("phi3"), tensors)

    assert source.config.biases == {"q_proj", "k_proj", "v_proj"}
    require_weights(source, weights)


def test_frequencies_are_divided_by_the_factors_of_the_file(tmp_path: Path) -> None:
    factors = np.linspace(1, 8, 8, dtype=np.float32)
    tensors = {**llama_tensors(random_weights(LLAMA_CONFIG), 16), "rope_freqs.weight": factors}

    source = opened(tmp_path, metadata_of("llama"), tensors)

    rope, plain = source.config.layers[1].rope, LLAMA_CONFIG.layers[1].rope
    assert rope is not None
    assert plain is not None
    np.testing.assert_allclose(rope.frequencies, np.array(plain.frequencies) / factors, rtol=1e-6)


def test_a_vocabulary_with_more_tokens_than_the_embeddings_have_rows_is_rejected(tmp_path: Path) -> None:
    metadata = metadata_of("llama")
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    metadata |= {"tokenizer.ggml.tokens": [*tokens, "<a>"], "tokenizer.ggml.token_type": [*types, 3]}

    with pytest.raises(ExportError, match=r"tokenizer\.ggml\.tokens: has 261 tokens; token_embd\.weight has 260 rows"):
        opened(tmp_path, metadata, llama_tensors(random_weights(LLAMA_CONFIG), 16))


def test_the_descriptions_are_those_of_the_model(tmp_path: Path) -> None:
    metadata = {
        **metadata_of("llama", rope__freq_base=50_000.0, rope__scaling__type="yarn", rope__scaling__factor=4.0),
        "llama.rope.scaling.original_context_length": 32,
        "general.sampling.temp": 0.5,
        "general.sampling.top_k": 20,
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.chat_template.tools": "{{ tools }}",
    }
    write_llama(tmp_path / "model.gguf", metadata=metadata)
    folder = tmp_path / "out"
    folder.mkdir()

    open_gguf_source(tmp_path / "model.gguf").write_descriptions(folder)

    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["rms_norm_eps"] == 1e-5
    assert config["rope_theta"] == 50_000.0
    assert config["rope_scaling"] == {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    assert (config["bos_token_id"], config["eos_token_id"]) == (END - 1, END)
    assert json.loads((folder / "generation_config.json").read_text()) == {
        "bos_token_id": END - 1,
        "eos_token_id": END,
        "do_sample": True,
        "temperature": 0.5,
        "top_k": 20,
    }
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert (folder / "additional_chat_templates/tools.jinja").read_text() == "{{ tools }}"
    assert Description.read(folder).eos_token_ids == {END}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"expert_count": 8}, "llama.expert_count is 8: a mixture of experts cannot be exported"),
        ({"attention__causal": False}, "llama.attention.causal is false"),
        ({"attention__value_length": 8}, "llama.attention.value_length is 8; it must be 16"),
        (
            {"attention__head_count_kv": [2, 1]},
            "llama.attention.head_count_kv: array.* is not a single value, or the same one for every",
        ),
        ({"block_count": None}, "llama.block_count is missing"),
        ({"block_count": "2"}, "llama.block_count: '2' is not an integer"),
        ({"block_count": 0}, "llama.block_count: 0 is not an integer from 1"),
        ({"block_count": 2**31 - 1}, "llama.block_count: 2147483647 is not an integer from 0 to"),
        ({"block_count": 3}, "the tensor blk.2.attn_norm.weight is missing"),
        ({"block_count": 1}, "has 9 tensors that its architecture does not have.*: blk.1.attn_norm"),
        ({"attention__layer_norm_rms_epsilon": float("nan")}, "nan is not a finite number"),
        ({"feed_forward_length": 128}, r"blk.0.ffn_gate.weight has shape \[96, 64\]; .* must be \[128, 64\]"),
        ({"embedding_length": 2**31}, "llama.embedding_length: 2147483648 is not an integer"),
        ({"rope__scaling__type": "other"}, "llama.rope.scaling.type is 'other'; supported are none, linear"),
        ({"rope__scaling__type": "longrope"}, "the tensor rope_factors_long.weight is missing"),
        ({"rope__dimension_count": 12}, "its metadata, as config.json, .*partial_rotary_factor"),
    ],
)
def test_metadata_that_cannot_be_exported_are_named(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    write_llama(tmp_path / "model.gguf", metadata=metadata_of("llama", **changes))

    with pytest.raises(ExportError, match=f"^{re.escape(str(tmp_path))}/model.gguf.*{problem}"):
        open_gguf_source(tmp_path / "model.gguf")


@pytest.mark.parametrize("architecture", ["mamba", "qwen2moe", "clip"])
def test_an_architecture_that_is_not_supported_is_named_with_those_that_are(tmp_path: Path, architecture: str) -> None:
    write_llama(tmp_path / "model.gguf", metadata={"general.architecture": architecture})

    with pytest.raises(ExportError, match=f"architecture is '{architecture}', which.*gemma, gemma2, gemma3, gpt2"):
        open_gguf_source(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("name", "stored", "problem"),
    [
        ("blk.0.attn_sub_norm.weight", np.ones(64, np.float32), "has 1 tensors .*: blk.0.attn_sub_norm.weight"),
        ("blk.1.attn_q.bias", np.ones(64, np.float32), "has 1 tensors .*: blk.1.attn_q.bias"),
        ("token_embd.weight", np.ones(64, np.float32), "the tensor token_embd.weight is missing"),
        ("output_norm.weight", np.ones(64, np.int32), "output_norm.weight has type I32"),
        ("rope_freqs.weight", np.ones(7, np.float32), "rope_freqs.weight has 7 values; the model rotates 8 pairs"),
        ("rope_freqs.weight", np.zeros(8, np.float32), "rope_freqs.weight has values that are not above 0"),
        (
            "blk.0.attn_v.weight",
            (GGMLQuantizationType.TQ2_0, np.zeros((32, 66), np.uint8)),
            "blk.0.attn_v.weight has shape",
        ),
    ],
)
def test_tensors_that_cannot_be_exported_are_named(tmp_path: Path, name: str, stored: Stored, problem: str) -> None:
    tensors = {**llama_tensors(random_weights(LLAMA_CONFIG), 16), name: stored}

    with pytest.raises(ExportError, match=problem):
        opened(tmp_path, metadata_of("llama"), tensors)


def test_block_types_that_cannot_be_exported_are_named(tmp_path: Path) -> None:
    config = replace(LLAMA_CONFIG, intermediate_size=256)
    tensors = llama_tensors(random_weights(config), 16)
    tensors["blk.0.ffn_down.weight"] = (GGMLQuantizationType.Q8_K, np.zeros((64, 292), np.uint8))

    with pytest.raises(
        ExportError, match=r"ffn_down\.weight has type Q8_K; a tensor of its shape can have F32, F16, .*Q4_0"
    ):
        opened(tmp_path, metadata_of("llama", feed_forward_length=256), tensors)


SCALARS: list[Value] = [0, 1, -1, 2**31 - 1, 2**63, 0.0, -1.0, 3e38, float("nan"), True, False, "", "yarn"]
HOSTILE: list[Value] = [*SCALARS, ["a"], np.array([1, 2]), np.array([True, False]), np.array([], np.int32)]


def test_only_export_errors_come_out_of_hostile_metadata(tmp_path: Path) -> None:
    write_llama(tmp_path / "model.gguf")
    file = open_gguf(tmp_path / "model.gguf")
    keys = [
        *(key for key in file.metadata.values if not key.endswith((".tokens", ".token_type"))),
        *(f"llama.rope.scaling.{name}" for name in ("type", "factor", "original_context_length")),
        *(f"llama.{name}" for name in ("attention.sliding_window", "attention.key_length", "rope.dimension_count")),
    ]
    random = Random(13)
    opened = 0
    for _ in range(600):
        values = {
            **file.metadata.values,
            **{random.choice(keys): random.choice(HOSTILE) for _ in range(random.choice([1, 2]))},
        }
        with suppress(ExportError):
            source_of(replace(file, metadata=Metadata(values)))
            opened += 1
    assert 10 < opened < 590


def test_blocks_of_reordered_rows_stay_blocks(tmp_path: Path) -> None:
    stored = random_blocks(GGMLQuantizationType.Q4_1, 64, 64, seed=1)
    tensors = llama_tensors(random_weights(LLAMA_CONFIG), 16)
    tensors["blk.0.attn_q.weight"] = (GGMLQuantizationType.Q4_1, stored)

    query = opened(tmp_path, metadata_of("llama"), tensors).tensors["layers.0.q_proj.weight"]

    assert query.layout is not None
    assert query.layout.has_offsets
    assert query.layout.bits == 4
