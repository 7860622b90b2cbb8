"""The decoder that the metadata of each architecture describe; `tests/exports` runs the exports."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.gguf_model.gguf_source import open_gguf_source
from tests.exports.committed_models import committed_gguf_files

ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
MLP = frozenset({"gate_proj", "up_proj", "down_proj"})
FILES = {file.name: file for file in committed_gguf_files()}
LLAMA: Mapping[str, object] = {
    "norm": "rms",
    "input_norms": True,
    "output_norms": False,
    "qk_norm": None,
    "gated": True,
    "activation": "silu",
    "tied_embeddings": True,
    "biases": frozenset[str](),
    "learned_positions": False,
    "attention_scale": None,
    "attention_softcap": None,
    "embedding_scale": 1.0,
    "residual_scale": 1.0,
    "logits_scale": 1.0,
    "logits_softcap": None,
}
GEMMA: Mapping[str, object] = {**LLAMA, "activation": "gelu_tanh"}
UNGATED: Mapping[str, object] = {**LLAMA, "norm": "layer", "gated": False, "activation": "gelu_tanh"}
EXPECTED: Mapping[str, Mapping[str, object]] = {
    "llama-f16": {**LLAMA, "tied_embeddings": False, "biases": ATTENTION},
    "llama-q4-k-m": LLAMA,
    "qwen2-q8-0": {**LLAMA, "biases": frozenset({"q_proj", "k_proj", "v_proj"})},
    "qwen3-q4-0": {**LLAMA, "qk_norm": "heads"},
    "gemma-q5-1": {**GEMMA, "embedding_scale": 8.0},
    "gemma2-q4-1": {
        **GEMMA,
        "embedding_scale": 8.0,
        "output_norms": True,
        "attention_scale": 0.25,
        "attention_softcap": 4.0,
        "logits_softcap": 12.0,
    },
    "gemma3-bf16": {
        **GEMMA,
        "embedding_scale": 32**0.5,
        "output_norms": True,
        "qk_norm": "heads",
        "attention_scale": 8**-0.5,
    },
    "phi3-q8-0": LLAMA,
    "smollm3-iq4-nl": LLAMA,
    "granite-q8-0": {
        **LLAMA,
        "attention_scale": 0.25,
        "embedding_scale": 3.0,
        "residual_scale": 0.75,
        "logits_scale": 0.5,
    },
    "olmo2-q5-0": {
        **LLAMA,
        "tied_embeddings": False,
        "input_norms": False,
        "output_norms": True,
        "qk_norm": "full",
    },
    "arcee-f16": {**LLAMA, "gated": False, "activation": "relu2"},
    "ernie4-5-f16": {**LLAMA, "biases": ATTENTION | MLP},
    "gpt2-f32": {**UNGATED, "learned_positions": True, "biases": ATTENTION | {"up_proj", "down_proj"}},
    "starcoder2-q8-0": {**UNGATED, "biases": ATTENTION | {"up_proj", "down_proj"}},
}


def opened(name: str, folder: Path) -> DecoderConfig:
    return open_gguf_source(FILES[name].extract(folder)).config


@pytest.mark.parametrize("name", FILES)
def test_the_decoder_is_that_of_the_family(name: str, tmp_path: Path) -> None:
    config = opened(name, tmp_path)

    assert {field: getattr(config, field) for field in LLAMA} == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("llama-f16", [None, None]),
        ("gemma2-q4-1", [16, None]),
        ("gemma3-bf16", [16, 16, None]),
        ("phi3-q8-0", [48, 48]),
    ],
)
def test_the_windows_are_those_of_the_file(name: str, windows: list[int | None], tmp_path: Path) -> None:
    assert [layer.window for layer in opened(name, tmp_path).layers] == windows


def test_every_fourth_layer_of_smollm3_has_no_positions(tmp_path: Path) -> None:
    layers = opened("smollm3-iq4-nl", tmp_path).layers

    assert [layer.rope is not None for layer in layers] == [True, True, True, False]


def test_layers_of_gemma_3_with_a_window_have_frequencies_of_their_own(tmp_path: Path) -> None:
    sliding, _, full = (layer.rope for layer in opened("gemma3-bf16", tmp_path).layers)

    assert sliding is not None
    assert full is not None
    assert sliding.frequencies[1] == pytest.approx(5000 ** -(1 / 4))
    assert full.frequencies[1] == pytest.approx(100_000 ** -(1 / 4) / 4)


def test_phi_3_rotates_a_part_of_a_head_and_long_sequences_in_another_way(tmp_path: Path) -> None:
    config = opened("phi3-q8-0", tmp_path)
    rope = config.layers[0].rope

    assert rope is not None
    assert rope.long is not None
    assert (config.head_dim, len(rope.frequencies), rope.long.above) == (32, 12, 256)
    assert rope.long.frequencies[0] == 0.5
    assert rope.scale == rope.long.scale == pytest.approx((1 + 1 / 8) ** 0.5)


def test_the_scaling_of_qwen2_is_yarn(tmp_path: Path) -> None:
    rope = opened("qwen2-q8-0", tmp_path).layers[0].rope

    assert rope is not None
    assert rope.frequencies[0] == 1.0
    assert rope.frequencies[-1] == pytest.approx(10_000 ** -(7 / 8) / 4)
    assert rope.scale == pytest.approx(1.138629436)
