"""The files: a small configuration of transformers for each architecture, and how its tensors are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 264
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "pad_token_id": None,
}

Types = str | Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, and the types of its matrices."""

    architecture: str
    """As GGUF names it."""
    model_type: str
    """As transformers names it."""
    types: Types
    """One type for all matrices, or one for each name of a tensor such as `attn_q`; `*` is for all others."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    permuted: bool = False
    """The converter reorders the rows of queries and keys."""
    norm_offset: float = 0.0
    """What the converter adds to the weights of norms."""
    is_read_by_transformers: bool = True

    @property
    def configuration(self) -> dict[str, Any]:
        """Keyword arguments of the configuration."""
        return {**_SHAPE, **self.settings}

    def type_of(self, tensor: str) -> str:
        """The type of a matrix, by its name without layer and `.weight`."""
        return self.types if isinstance(self.types, str) else self.types.get(tensor, self.types["*"])


CASES: Mapping[str, Case] = {
    "llama-f16": Case(
        architecture="llama",
        model_type="llama",
        permuted=True,
        is_read_by_transformers=False,  # without its biases
        types={"*": "F16", "attn_q": "F32", "ffn_down": "BF16"},
        settings={
            "attention_bias": True,
            "tie_word_embeddings": False,
            "hidden_size": 48,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "intermediate_size": 64,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama-q4-k-m": Case(
        architecture="llama",
        model_type="llama",
        permuted=True,
        types={
            "*": "Q4_K",
            "token_embd": "Q6_K",
            "attn_k": "Q5_K",
            "attn_v": "Q6_K",
            "attn_output": "Q8_0",
            "ffn_up": "Q3_K",
            "ffn_down": "Q6_K",
        },
        settings={
            "hidden_size": 256,
            "intermediate_size": 256,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 32,
        },
    ),
    "qwen2-q8-0": Case(architecture="qwen2", model_type="qwen2", types="Q8_0", settings={"rope_parameters": _YARN}),
    "qwen3-q4-0": Case(
        architecture="qwen3",
        model_type="qwen3",
        types={"*": "Q4_0", "token_embd": "Q8_0"},
        settings={
            "head_dim": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
        },
    ),
    "gemma-q5-1": Case(
        architecture="gemma",
        model_type="gemma",
        norm_offset=1.0,
        is_read_by_transformers=False,
        types={"*": "Q5_1", "attn_q": "Q5_0", "attn_output": "F16"},
        settings={"head_dim": 24, "num_key_value_heads": 1, "num_attention_heads": 2},
    ),
    "gemma2-q4-1": Case(
        architecture="gemma2",
        model_type="gemma2",
        norm_offset=1.0,
        types={"*": "Q4_1", "token_embd": "Q8_0"},
        settings={
            "head_dim": 16,
            "sliding_window": 16,
            "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 12.0,
        },
    ),
    "gemma3-bf16": Case(
        architecture="gemma3",
        model_type="gemma3_text",
        norm_offset=1.0,
        types={"*": "BF16", "token_embd": "Q8_0"},
        settings={
            "hidden_size": 32,
            "intermediate_size": 64,
            "head_dim": 8,
            "num_hidden_layers": 3,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 8,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
            },
        },
    ),
    "phi3-q8-0": Case(
        architecture="phi3",
        model_type="phi3",
        types="Q8_0",
        settings={
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "sliding_window": 48,
            "max_position_embeddings": 512,
            "original_max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.0 + 0.03125 * i for i in range(12)],
                "long_factor": [2.0 + 0.25 * i for i in range(12)],
            },
        },
    ),
    "smollm3-iq4-nl": Case(
        architecture="smollm3",
        model_type="smollm3",
        permuted=True,
        is_read_by_transformers=False,
        types={"*": "IQ4_NL", "token_embd": "Q8_0", "ffn_down": "MXFP4"},
        settings={
            "num_hidden_layers": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "no_rope_layers": [1, 1, 1, 0],
        },
    ),
    "granite-q8-0": Case(
        architecture="granite",
        model_type="granite",
        permuted=True,
        is_read_by_transformers=False,
        types="Q8_0",
        settings={
            "attention_multiplier": 0.25,
            "residual_multiplier": 0.75,
            "embedding_multiplier": 3.0,
            "logits_scaling": 2.0,
        },
    ),
    "olmo2-q5-0": Case(
        architecture="olmo2",
        model_type="olmo2",
        is_read_by_transformers=False,
        types={"*": "Q5_0", "token_embd": "F16", "output": "F16"},
        settings={"tie_word_embeddings": False},
    ),
    "arcee-f16": Case(
        architecture="arcee",
        model_type="arcee",
        permuted=True,
        is_read_by_transformers=False,
        types="F16",
        settings={"hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1},
    ),
    "ernie4-5-f16": Case(
        architecture="ernie4_5",
        model_type="ernie4_5",
        is_read_by_transformers=False,
        types="F16",
        settings={
            "hidden_size": 32,
            "intermediate_size": 48,
            "head_dim": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "use_bias": True,
        },
    ),
    "gpt2-f32": Case(
        architecture="gpt2",
        model_type="gpt2",
        types={"*": "F16", "attn_qkv": "F32"},
        settings={"hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 5, "n_inner": 160},
    ),
    "starcoder2-q8-0": Case(
        architecture="starcoder2",
        model_type="starcoder2",
        types="Q8_0",
        settings={"sliding_window": None, "intermediate_size": 128},
    ),
}
