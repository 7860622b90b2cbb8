from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from onward_server.errors import ExportError
from onward_server.export.architectures.families import FAMILIES
from onward_server.export.architectures.reading import read_architecture
from onward_server.export.architectures.unsupported import kind_of
from onward_server.export.decoder_config import DecoderConfig

SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
SIZES = {
    "arcee": 4_022_766_080,
    "cwm": 32_581_097_472,
    "ernie4_5": 360_748_032,
    "exaone4": 9_429_069_824,
    "gemma": 8_537_680_896,
    "gemma2": 2_614_341_888,
    "gemma3_text": 2_628_658_432,
    "glm": 9_399_951_360,
    "glm4": 9_400_279_040,
    "gpt2": 124_439_808,
    "gpt_bigcode": 111_446_784,
    "granite": 6_738_415_616,
    "helium": 2_172_643_840,
    "llama": 6_738_415_616,
    "mistral": 7_241_732_096,
    "olmo2": 6_888_624_128,
    "olmo3": 6_888_624_128,
    "phi3": 3_821_079_552,
    "qwen2": 12_049_846_272,
    "qwen3": 12_049_461_248,
    "seed_oss": 28_921_040_896,
    "smollm3": 3_075_098_624,
    "stablelm": 2_795_443_200,
    "starcoder2": 3_030_371_328,
}
"""Parameters of a model with the defaults of its configuration class in transformers 5.24."""


def decoder(model_type: str, **values: object) -> DecoderConfig:
    return read_architecture({"model_type": model_type, **SMALL, **values}).decoder


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_can_be_read_with_its_defaults_alone(model_type: str) -> None:
    config = read_architecture({"model_type": model_type}).decoder
    size = sum(_product(shape) for shape in config.weight_shapes().values())
    assert size > 100e6
    if model_type in SIZES:
        assert size == SIZES[model_type]


def _product(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


FAMILY_FIELDS: Mapping[str, Mapping[str, object]] = {
    "arcee": {"gated": False, "activation": "relu2"},
    "exaone4": {"input_norms": False, "output_norms": True, "qk_norm": "heads"},
    "gemma": {"embedding_scale": 32**0.5, "tied_embeddings": True, "activation": "gelu_tanh", "head_dim": 256},
    "gemma2": {
        "output_norms": True,
        "attention_scale": 256**-0.5,
        "attention_softcap": 50.0,
        "logits_softcap": 30.0,
        "embedding_scale": 32**0.5,
    },
    "gemma3_text": {
        "output_norms": True,
        "qk_norm": "heads",
        "attention_softcap": None,
        "logits_softcap": None,
        "attention_scale": 256**-0.5,
    },
    "glm4": {"output_norms": True, "input_norms": True, "biases": frozenset({"q_proj", "k_proj", "v_proj"})},
    "gpt_bigcode": {"num_kv_heads": 1, "learned_positions": True, "norm": "layer"},
    "llama": {"norm": "rms", "gated": True, "activation": "silu", "biases": frozenset[str](), "head_dim": 8},
    "nemotron": {"norm": "layer", "gated": False, "activation": "relu2"},
    "olmo": {"norm": "layer", "norm_eps": 1e-5},
    "olmo2": {"input_norms": False, "output_norms": True, "qk_norm": "full"},
    "opt": {"learned_positions": True, "activation": "relu", "norm_eps": 1e-5, "num_kv_heads": 4},
    "qwen2": {"biases": frozenset({"q_proj", "k_proj", "v_proj"}), "qk_norm": None},
    "qwen3": {"biases": frozenset[str](), "qk_norm": "heads", "head_dim": 128},
    "smollm3": {"tied_embeddings": True},
    "starcoder2": {"norm": "layer", "gated": False, "activation": "gelu_tanh", "tied_embeddings": True},
}


@pytest.mark.parametrize("model_type", FAMILY_FIELDS)
def test_a_family_has_the_norms_biases_and_activation_of_its_model(model_type: str) -> None:
    found = asdict(decoder(model_type))
    assert {key: found[key] for key in FAMILY_FIELDS[model_type]} == FAMILY_FIELDS[model_type]


@pytest.mark.parametrize(
    ("model_type", "values", "biased"),
    [
        ("llama", {"attention_bias": True}, "q k v o"),
        ("llama", {"mlp_bias": True}, "gate up down"),
        ("qwen3", {"attention_bias": True}, "q k v o"),
        ("seed_oss", {}, "q k v"),
        ("seed_oss", {"attention_bias": False, "attention_out_bias": True}, "o"),
        ("stablelm", {"use_qkv_bias": True}, "q k v"),
        ("ernie4_5", {"use_bias": True}, "q k v o gate up down"),
        ("starcoder2", {}, "q k v o up down"),
        ("starcoder2", {"use_bias": False}, ""),
        ("glm", {"mlp_bias": True}, "q k v"),
        ("gpt2", {}, "q k v o up down"),
    ],
)
def test_biases_are_those_that_config_names(model_type: str, values: dict[str, Any], biased: str) -> None:
    assert decoder(model_type, **values).biases == {f"{name}_proj" for name in biased.split()}


@pytest.mark.parametrize(
    ("model_type", "values", "windows"),
    [
        ("mistral", {}, [4096] * 4),
        ("mistral", {"sliding_window": None}, [None] * 4),
        ("phi3", {}, [None] * 4),
        ("phi3", {"sliding_window": 9}, [9] * 4),
        ("qwen2", {"sliding_window": 8, "max_window_layers": 0}, [None] * 4),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3}, [None, None, None, 8]),
        ("qwen2", {"use_sliding_window": True, "sliding_window": None}, [None] * 4),
        (
            "qwen3",
            {"use_sliding_window": False, "sliding_window": 8, "layer_types": ["sliding_attention"] * 4},
            [None] * 4,
        ),
        ("gemma2", {"sliding_window": 8}, [8, None, 8, None]),
        ("gemma3_text", {"sliding_window": 8}, [8, 8, 8, 8]),
        ("gemma3_text", {"sliding_window": 8, "sliding_window_pattern": 2}, [8, None, 8, None]),
        ("gemma3_text", {"layer_types": ["full_attention"] * 4, "sliding_window": 8}, [None] * 4),
        ("olmo3", {"sliding_window": 8}, [8, 8, 8, None]),
        ("cwm", {"sliding_window": 8}, [None, 8, 8, 8]),
        ("exaone4", {"sliding_window": 8}, [8, 8, 8, None]),
        ("exaone4", {"sliding_window": None}, [None] * 4),
        ("smollm3", {"use_sliding_window": True, "sliding_window": 8}, [None, None, None, 8]),
    ],
)
def test_layers_have_the_windows_of_config(model_type: str, values: dict[str, Any], windows: list[int | None]) -> None:
    assert [layer.window for layer in decoder(model_type, **values).layers] == windows


@pytest.mark.parametrize(
    ("model_type", "values", "rotated"),
    [
        ("llama", {}, [True] * 4),
        ("gpt2", {"n_layer": 2}, [False] * 2),
        ("smollm3", {}, [True, True, True, False]),
        ("smollm3", {"no_rope_layer_interval": 2}, [True, False, True, False]),
        ("smollm3", {"no_rope_layers": [0, 1, 1, 0, 1, 1]}, [False, True, True, False]),
        ("exaone4", {"sliding_window": 8}, [True, True, True, False]),
        ("exaone4", {"sliding_window": None}, [True] * 4),
    ],
)
def test_some_layers_have_no_positions(model_type: str, values: dict[str, Any], rotated: list[bool]) -> None:
    assert [layer.rope is not None for layer in decoder(model_type, **values).layers] == rotated


def test_sliding_layers_of_gemma3_have_a_local_rotation_in_both_styles_of_config() -> None:
    scaling = {"rope_type": "linear", "factor": 8.0}
    old = decoder("gemma3_text", head_dim=8, rope_scaling=scaling)
    new = decoder(
        "gemma3_text",
        head_dim=8,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {**scaling, "rope_theta": 1_000_000.0},
        },
        layer_types=["sliding_attention"] * 4,
    )
    assert old.layers == new.layers
    assert old.layers[0].rope is not None
    assert old.layers[0].rope.frequencies[1] == pytest.approx(0.1)


def test_multipliers_of_granite_are_factors() -> None:
    found = decoder(
        "granite", embedding_multiplier=12, attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=8
    )
    assert (found.embedding_scale, found.attention_scale, found.residual_scale, found.logits_scale) == (
        12,
        0.0625,
        0.22,
        0.125,
    )


@pytest.mark.parametrize("stated", [{"model_type": "gemma3_text"}, {}])
def test_the_text_part_of_gemma3_is_read_with_the_defaults_that_its_config_leaves_out(stated: dict[str, str]) -> None:
    text = {**stated, "hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34, "sliding_window": 1024}
    config = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 106]}
    found = read_architecture({**config, "text_config": text})
    assert found.is_part
    assert (found.decoder.num_heads, found.decoder.head_dim, found.decoder.vocab_size) == (8, 256, 262_208)
    assert found.decoder.tied_embeddings
    assert found.values["model_type"] == "gemma3_text"
    assert found.values["eos_token_id"] == [1, 106]


def test_architectures_name_the_family_where_the_model_type_is_missing() -> None:
    for name, expected in (("LlamaForCausalLM", "llama"), ("GPT2LMHeadModel", "gpt2"), ("Qwen2ForCausalLM", "qwen2")):
        assert read_architecture({"architectures": [name]}).decoder.model_type == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "32"}, "hidden_size is '32'; it must be an integer from 1 to 2147483647"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": 2**31}, "hidden_size is 2147483648"),
        ({"hidden_size": 33}, "hidden_size is 33; it must be a multiple of num_attention_heads = 4"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; it must be an integer from 1 to 1024"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3; it must be a divisor of num_attention_heads = 4"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5'; it must be a number"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
        ({"hidden_act": "xielu"}, "hidden_act is 'xielu'; it must be one of gelu, "),
        ({"attention_bias": "yes"}, "attention_bias is 'yes'; it must be true or false"),
        ({"model_type": "qwen2", "layer_types": ["full_attention"]}, "a list with an item for each of the 4 layers"),
        ({"model_type": "qwen2", "layer_types": ["linear_attention"] * 4}, "has 'linear_attention', which is not supp"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0"),
        ({"model_type": "gemma2", "use_bidirectional_attention": True}, "attention to later tokens is not supported"),
        ({"model_type": "stablelm", "use_parallel_residual": True}, "side by side is not supported"),
        ({"model_type": "olmo", "clip_qkv": 8.0}, "clipping of queries, keys and values is not supported"),
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "is not supported"),
        ({"model_type": "gpt_bigcode", "multi_query": False}, "multi_query is False; it must be true"),
        ({"model_type": "opt", "word_embed_proj_dim": 16}, "word_embed_proj_dim is 16"),
        ({"model_type": "granite", "logits_scaling": 0}, "logits_scaling is 0"),
        ({"model_type": "gemma3", "text_config": None}, "text_config is None; it must be an object"),
        ({"model_type": ""}, "model_type is ''; it must be one of arcee"),
        ({"model_type": ["llama"], "architectures": None}, "model_type is "),
        ({"model_type": "mixtral"}, "model_type is 'mixtral', a mixture of experts that cannot be exported; supported"),
        ({"model_type": "deepseek_v3"}, "a mixture of experts with latent attention that cannot be exported"),
        ({"model_type": "mamba2"}, "a state-space or hybrid model that cannot be exported"),
        ({"model_type": "bloom"}, "a model with ALiBi positions that cannot be exported"),
        ({"model_type": "cohere"}, "a model whose attention and MLP run side by side that cannot be exported"),
        ({"model_type": "t5"}, "an encoder-decoder that cannot be exported"),
        ({"model_type": "qwen2_5_vl"}, "a model for images or audio that cannot be exported"),
        ({"model_type": "novel"}, "model_type is 'novel', a family that cannot be exported; supported are arcee,"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quant_method 'gptq'; only checkpoints in float32"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quant_method 'fp8'"),
        ({"compression_config": {"format": "int"}}, "compression_config has quant_method 'unknown'"),
        ({"quantization": {"bits": 4, "group_size": 64}}, "quantization has quant_method 'unknown'"),
        ({"quantization_config": "int8"}, "quantization_config has quant_method 'int8'"),
        (
            {"model_type": "gemma3", "text_config": {"quantization_config": {"quant_method": "awq"}}},
            "quantization_config has quant_method 'awq'",
        ),
        ({"architectures": ["LlamaForSequenceClassification"]}, "does not continue a text"),
    ],
)
def test_what_cannot_be_exported_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_architecture({"model_type": "llama", **SMALL, **values})


def test_no_family_is_both_supported_and_unsupported() -> None:
    assert {kind_of(model_type) for model_type in FAMILIES} == {"a family"}
