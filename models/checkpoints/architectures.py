"""The checkpoints: small configurations of transformers that keep what is particular about each family."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 288
END_OF_SEQUENCE = 257

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "pad_token_id": None,
}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

Json = dict[str, Any]


def _as_version_4(config: Json) -> Json:
    """The names of transformers 4: `rope_theta` and `rope_scaling`, and `torch_dtype`."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    if (part := rope.pop("partial_rotary_factor", None)) is not None:
        config["partial_rotary_factor"] = part
    config["rope_scaling"] = rope if rope.get("rope_type") != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    return config


def _gemma3_as_version_4(config: Json) -> Json:
    rope = config.pop("rope_parameters")
    full = dict(rope["full_attention"])
    config["rope_theta"] = full.pop("rope_theta")
    config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    config["rope_scaling"] = full
    return config


def _as_released(config: Json) -> Json:
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A configuration, and how its weights and config.json are stored."""

    model_type: str
    settings: Json = field(default_factory=dict)
    dtype: str = "float32"
    shards_of: str = "5GB"
    """The largest shard."""
    rewrite_config: Callable[[Json], Json] = _as_released
    """Changes config.json."""
    prompt_lengths: tuple[int, ...] = (1, 2, 7, 16, 33, 65, 130, 200)
    """Of the reference, which has 40 tokens after each prompt."""

    @property
    def configuration(self) -> Json:
        """Keyword arguments of the configuration."""
        return _SHAPE | self.settings


CHECKPOINTS: dict[str, Checkpoint] = {
    "llama": Checkpoint(
        model_type="llama",
        dtype="bfloat16",
        settings={
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 50000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "mistral": Checkpoint(
        model_type="mistral",
        dtype="float16",
        shards_of="60KB",
        settings={"sliding_window": 24, "head_dim": 32, "num_key_value_heads": 4},
        rewrite_config=_as_version_4,
    ),
    "qwen2": Checkpoint(
        model_type="qwen2",
        dtype="bfloat16",
        settings={
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 40,
            "max_window_layers": 1,
            "rope_parameters": {"rope_theta": 10000.0, **_YARN},
        },
        rewrite_config=_as_version_4,
    ),
    "qwen3": Checkpoint(
        model_type="qwen3",
        settings={
            "hidden_size": 48,
            "head_dim": 24,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
        },
    ),
    "gemma": Checkpoint(
        model_type="gemma",
        dtype="bfloat16",
        settings={"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True},
    ),
    "gemma2": Checkpoint(
        model_type="gemma2",
        settings={
            "head_dim": 16,
            "sliding_window": 16,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 12.0,
            "tie_word_embeddings": True,
        },
    ),
    "gemma3": Checkpoint(
        model_type="gemma3_text",
        dtype="bfloat16",
        settings={
            "hidden_size": 32,
            "head_dim": 8,
            "num_hidden_layers": 4,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
            },
            "tie_word_embeddings": True,
        },
        rewrite_config=_gemma3_as_version_4,
    ),
    "phi3": Checkpoint(model_type="phi3", dtype="bfloat16", settings={"sliding_window": 32, "num_key_value_heads": 4}),
    "phi4-mini": Checkpoint(
        model_type="phi3",
        settings={
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "original_max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.0 + 0.03125 * i for i in range(12)],
                "long_factor": [2.0 + 0.25 * i for i in range(12)],
            },
            "tie_word_embeddings": True,
        },
        rewrite_config=_as_version_4,
    ),
    "phi3-longrope": Checkpoint(
        model_type="phi3",
        settings={
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0 + 0.0625 * i for i in range(8)],
                "long_factor": [4.0 + 0.5 * i for i in range(8)],
            },
            "tie_word_embeddings": True,
        },
        prompt_lengths=(1, 26, 33, 63, 64, 65, 130, 200),  # that of 26 tokens ends with the only run of 65
    ),
    "smollm3": Checkpoint(
        model_type="smollm3",
        dtype="bfloat16",
        settings={
            "num_hidden_layers": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "no_rope_layers": [1, 0, 1, 0],
            "tie_word_embeddings": True,
        },
    ),
    "granite": Checkpoint(
        model_type="granite",
        dtype="float16",
        settings={
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.75,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
            "tie_word_embeddings": True,
        },
    ),
    "olmo2": Checkpoint(model_type="olmo2", dtype="bfloat16", settings={"num_key_value_heads": 4}),
    "olmo3": Checkpoint(
        model_type="olmo3",
        settings={
            "num_hidden_layers": 3,
            "sliding_window": 20,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_theta": 10000.0, "attention_factor": 1.2, **_YARN},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "gpt2": Checkpoint(
        model_type="gpt2",
        settings={
            "hidden_size": 60,
            "num_attention_heads": 5,
            "n_inner": 100,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
        },
    ),
    "starcoder2": Checkpoint(
        model_type="starcoder2", dtype="bfloat16", settings={"sliding_window": 48, "tie_word_embeddings": True}
    ),
    "ernie": Checkpoint(model_type="ernie4_5", settings={"head_dim": 32, "use_bias": True}),
    "arcee": Checkpoint(model_type="arcee", dtype="bfloat16"),
}
