"""The architectures: small configurations that keep what is particular about each family's attention."""

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
    "head_dim": 16,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
}
_LONG_ROPE = {"num_hidden_layers": 2, "rope_theta": 10000.0, "sliding_window": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A configuration of transformers, and the tools that export it."""

    model_type: str
    settings: dict[str, Any] = field(default_factory=dict)
    no_settings: frozenset[str] = frozenset()
    """Names of the common shape that this configuration does not have."""
    optimum_attention: str = "eager"
    """The attention of transformers that Optimum's export computes."""
    is_changed_by_builder: bool = False
    """Whether onnxruntime-genai's builder writes a graph that does not compute what the checkpoint does."""

    @property
    def configuration(self) -> dict[str, Any]:
        """Keyword arguments of the configuration."""
        shape = {name: value for name, value in _SHAPE.items() if name not in self.no_settings}
        return shape | self.settings


def _long_factors(short: float, long: float) -> dict[str, Any]:
    """Factors that differ by frequency, so that an error in one of them changes the output."""
    return {
        "type": "longrope",
        "short_factor": [short + 0.03125 * i for i in range(8)],
        "long_factor": [long + 0.25 * i for i in range(8)],
    }


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(model_type="llama"),
    "llama3": Architecture(
        model_type="llama",
        settings={
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2": Architecture(model_type="qwen2"),
    "qwen3": Architecture(model_type="qwen3", settings={"head_dim": 32}),
    "mistral": Architecture(model_type="mistral", settings={"sliding_window": None}),
    "mistral-window": Architecture(model_type="mistral", settings={"sliding_window": 32}),
    "gemma": Architecture(model_type="gemma", settings={"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "gemma2": Architecture(
        model_type="gemma2",
        optimum_attention="sdpa",  # which has no soft cap, and neither has the export
        settings={
            "sliding_window": 16,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 12.0,
            "tie_word_embeddings": True,
        },
    ),
    "gemma3": Architecture(
        model_type="gemma3_text",
        settings={
            "num_hidden_layers": 3,
            "sliding_window": 16,
            "sliding_window_pattern": 3,
            "query_pre_attn_scalar": 24,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "tie_word_embeddings": True,
        },
    ),
    "phi": Architecture(
        model_type="phi",
        settings={"partial_rotary_factor": 0.5, "head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 2},
    ),
    "phi3": Architecture(
        model_type="phi3",
        settings={
            "num_key_value_heads": 4,
            "sliding_window": None,
            "pad_token_id": 0,
            "original_max_position_embeddings": 512,
        },
    ),
    "phi3-window": Architecture(model_type="phi3", settings={"sliding_window": 32, "pad_token_id": 0}),
    "smollm3": Architecture(model_type="smollm3", settings={"no_rope_layers": [1, 0], "pad_token_id": 0}),
    "gpt-neox": Architecture(model_type="gpt_neox", settings={"rotary_pct": 0.25}, no_settings=frozenset({"head_dim"})),
    "olmo": Architecture(model_type="olmo", settings={"clip_qkv": None}, is_changed_by_builder=True),
    "olmo2": Architecture(model_type="olmo2"),
    "granite": Architecture(
        model_type="granite",
        settings={
            "attention_multiplier": 0.3,
            "residual_multiplier": 0.75,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
        },
    ),
    "opt": Architecture(
        model_type="opt",
        settings={"ffn_dim": 96, "word_embed_proj_dim": 64, "do_layer_norm_before": True},
    ),
    "gpt2": Architecture(
        model_type="gpt2", settings={"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 512}
    ),
    "gpt-neo": Architecture(
        model_type="gpt_neo",
        settings={"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 16},
    ),
    "gptj": Architecture(
        model_type="gptj",
        settings={"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 512, "rotary_dim": 8},
    ),
    "gpt-bigcode": Architecture(
        model_type="gpt_bigcode",
        settings={"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 512, "multi_query": True},
    ),
    "stablelm": Architecture(
        model_type="stablelm",
        settings={"partial_rotary_factor": 0.25, "use_qkv_bias": True, "num_attention_heads": 4},
    ),
    "falcon": Architecture(
        model_type="falcon",
        no_settings=frozenset({"head_dim"}),
        settings={"multi_query": True, "new_decoder_architecture": False, "parallel_attn": True, "alibi": False},
    ),
    "bloom": Architecture(model_type="bloom", settings={"n_layer": 2, "n_head": 4, "seq_length": 512}),
    "mpt": Architecture(
        model_type="mpt",
        settings={"d_model": 64, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 512},
    ),
    "cohere": Architecture(model_type="cohere", settings={"logit_scale": 0.5}),
    "helium": Architecture(model_type="helium"),
    "glm": Architecture(model_type="glm", settings={"partial_rotary_factor": 0.5, "pad_token_id": 0}),
    "arcee": Architecture(model_type="arcee"),
    "nemotron": Architecture(
        model_type="nemotron",
        settings={"partial_rotary_factor": 0.5, "head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
    ),
    "gpt-oss": Architecture(
        model_type="gpt_oss",
        settings={
            "sliding_window": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rope_scaling": None,
            "pad_token_id": 0,
        },
    ),
    "ernie4-5": Architecture(model_type="ernie4_5"),
    "hunyuan": Architecture(model_type="hunyuan_v1_dense"),
    "long-rope": Architecture(
        model_type="phi3",
        settings=_LONG_ROPE
        | {"max_position_embeddings": 512, "original_max_position_embeddings": 64, "num_key_value_heads": 4}
        | {"rope_scaling": _long_factors(1.0, 4.0), "pad_token_id": 0},
    ),
    "phi-3-128k": Architecture(
        model_type="phi3",
        settings=_LONG_ROPE
        | {"max_position_embeddings": 8192, "original_max_position_embeddings": 4096, "num_key_value_heads": 4}
        | {"rope_scaling": _long_factors(1.0, 4.0), "pad_token_id": 0},
    ),
    "phi-4-mini": Architecture(
        model_type="phi3",
        settings=_LONG_ROPE
        | {"max_position_embeddings": 8192, "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.5}
        | {
            "rope_scaling": _long_factors(1.0, 2.0),
            "pad_token_id": 0,
            "head_dim": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
        },
    ),
}
