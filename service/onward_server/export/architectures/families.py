"""The families that can be exported, by `model_type`.

The defaults are those of the configuration classes of transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import replace

from onward_server.export.architectures import decoders
from onward_server.export.architectures.family import Family
from onward_server.export.architectures.naming import LLAMA, Naming

_Values = Mapping[str, object]

_COMMON: _Values = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
_LLAMA: _Values = {**_COMMON, "vocab_size": 32_000, "intermediate_size": 11_008, "max_position_embeddings": 2048}
_MISTRAL: _Values = {
    **_COMMON,
    "vocab_size": 32_000,
    "intermediate_size": 14_336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}
_QWEN2: _Values = {
    **_COMMON,
    "vocab_size": 151_936,
    "intermediate_size": 22_016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}
_GEMMA: _Values = {
    **_COMMON,
    "vocab_size": 256_000,
    "hidden_size": 3072,
    "intermediate_size": 24_576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_GEMMA2: _Values = {
    **_GEMMA,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
}
_GEMMA3: _Values = {
    **_GEMMA2,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window_pattern": 6,
    "final_logit_softcapping": None,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
}
_PHI3: _Values = {
    **_COMMON,
    "vocab_size": 32_064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "partial_rotary_factor": 1.0,
}
_SMOLLM3: _Values = {
    **_COMMON,
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "rope_theta": 2_000_000.0,
    "no_rope_layer_interval": 4,
    "tie_word_embeddings": True,
}
_GRANITE: _Values = {
    **_LLAMA,
    "embedding_multiplier": 1.0,
    "logits_scaling": 1.0,
    "residual_multiplier": 1.0,
    "attention_multiplier": 1.0,
}
_OLMO: _Values = {**_LLAMA, "vocab_size": 50_304, "rms_norm_eps": 1e-5}
_OLMO3: _Values = {**_OLMO, "rope_theta": 500_000.0, "sliding_window": 4096}
_CWM: _Values = {
    **_COMMON,
    "vocab_size": 128_256,
    "hidden_size": 6144,
    "intermediate_size": 21_504,
    "num_hidden_layers": 64,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 1_000_000.0,
        "factor": 16.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "sliding_window": 8192,
}
_EXAONE4: _Values = {
    **_COMMON,
    "vocab_size": 102_400,
    "intermediate_size": 16_384,
    "num_key_value_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
}
_ERNIE: _Values = {
    **_COMMON,
    "vocab_size": 103_424,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 18,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": True,
}
_HELIUM: _Values = {
    **_COMMON,
    "vocab_size": 48_000,
    "hidden_size": 2560,
    "intermediate_size": 7040,
    "num_hidden_layers": 24,
    "num_attention_heads": 20,
    "num_key_value_heads": 20,
    "head_dim": 128,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-8,
    "rope_theta": 100_000.0,
}
_GLM: _Values = {
    **_COMMON,
    "vocab_size": 151_552,
    "intermediate_size": 13_696,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1.5625e-07,
    "partial_rotary_factor": 0.5,
    "attention_bias": True,
}
_SEED_OSS: _Values = {
    **_COMMON,
    "vocab_size": 155_136,
    "intermediate_size": 27_648,
    "num_hidden_layers": 64,
    "num_attention_heads": 80,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 524_288,
    "attention_bias": True,
}
_ARCEE: _Values = {
    **_LLAMA,
    "hidden_size": 2560,
    "intermediate_size": 18_432,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}
_NEMOTRON: _Values = {
    **_COMMON,
    "vocab_size": 256_000,
    "hidden_size": 6144,
    "intermediate_size": 24_576,
    "num_attention_heads": 48,
    "hidden_act": "relu2",
    "max_position_embeddings": 4096,
    "norm_eps": 1e-5,
    "partial_rotary_factor": 0.5,
}
_JAIS2: _Values = {
    **_COMMON,
    "vocab_size": 150_272,
    "hidden_size": 3328,
    "intermediate_size": 26_624,
    "num_attention_heads": 26,
    "hidden_act": "relu2",
    "max_position_embeddings": 8192,
    "layer_norm_eps": 1e-5,
    "attention_bias": True,
    "mlp_bias": True,
}
_INTERNLM3: _Values = {
    **_COMMON,
    "vocab_size": 128_512,
    "intermediate_size": 10_240,
    "num_hidden_layers": 48,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-5,
}
_STABLELM: _Values = {
    **_COMMON,
    "vocab_size": 50_304,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "layer_norm_eps": 1e-5,
    "partial_rotary_factor": 0.25,
}
_STARCODER2: _Values = {
    **_COMMON,
    "vocab_size": 49_152,
    "hidden_size": 3072,
    "intermediate_size": 12_288,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 4096,
    "norm_epsilon": 1e-5,
    "use_bias": True,
    "tie_word_embeddings": True,
}
_GPT2: _Values = {
    "vocab_size": 50_257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
}
_GPT_BIGCODE: _Values = {**_GPT2, "activation_function": "gelu_pytorch_tanh", "multi_query": True}
_OPT: _Values = {
    "vocab_size": 50_272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "ffn_dim": 3072,
    "max_position_embeddings": 2048,
    "activation_function": "relu",
    "rms_norm_eps": 1e-5,
    "do_layer_norm_before": True,
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "tie_word_embeddings": True,
}

_OUTPUT_NORMS = {"attention_output_norm": "post_attention_layernorm", "mlp_output_norm": "post_feedforward_layernorm"}
_GEMMA_NAMING = Naming(norm_offset=1.0)
_GEMMA2_NAMING = _GEMMA_NAMING.with_modules({**_OUTPUT_NORMS, "mlp_norm": "pre_feedforward_layernorm"})
_VAULTGEMMA_NAMING = _GEMMA_NAMING.with_modules({"mlp_norm": "pre_feedforward_layernorm"})
_OLMO2_NAMING = LLAMA.with_modules(_OUTPUT_NORMS)
_FUSED_MLP = {"mlp.gate_up_proj": ("gate_proj", "up_proj")}
_PHI3_NAMING = Naming(fused={"self_attn.qkv_proj": ("q_proj", "k_proj", "v_proj"), **_FUSED_MLP})
_INTERLEAVED = Naming(interleaved_rope=True)
_GLM_NAMING = Naming(fused=_FUSED_MLP, interleaved_rope=True)
_GLM4_NAMING = _GLM_NAMING.with_modules(
    {"attention_output_norm": "post_self_attn_layernorm", "mlp_output_norm": "post_mlp_layernorm"}
)
_STARCODER2_NAMING = LLAMA.with_modules({"up_proj": "mlp.c_fc", "down_proj": "mlp.c_proj"})
_GPT_BIGCODE_NAMING = Naming(
    layers="h",
    modules={
        "embed_tokens": "wte",
        "position_embeddings": "wpe",
        "final_norm": "ln_f",
        "attention_norm": "ln_1",
        "mlp_norm": "ln_2",
        "o_proj": "attn.c_proj",
        "up_proj": "mlp.c_fc",
        "down_proj": "mlp.c_proj",
    },
    fused={"attn.c_attn": ("q_proj", "k_proj", "v_proj")},
)
_GPT2_NAMING = replace(
    _GPT_BIGCODE_NAMING, transposed=frozenset({"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"})
)
_OPT_NAMING = Naming(first_position=2).with_modules(
    {
        "position_embeddings": "embed_positions",
        "final_norm": "final_layer_norm",
        "attention_norm": "self_attn_layer_norm",
        "mlp_norm": "final_layer_norm",
        "o_proj": "self_attn.out_proj",
        "up_proj": "fc1",
        "down_proj": "fc2",
    }
)

FAMILIES: Mapping[str, Family] = {
    "arcee": Family(defaults=_ARCEE, decoder=decoders.arcee),
    "cwm": Family(defaults=_CWM, decoder=decoders.cwm),
    "ernie4_5": Family(defaults=_ERNIE, decoder=decoders.ernie, naming=_INTERLEAVED),
    "exaone4": Family(defaults=_EXAONE4, decoder=decoders.exaone4, naming=_OLMO2_NAMING),
    "gemma": Family(defaults=_GEMMA, decoder=decoders.gemma, naming=_GEMMA_NAMING),
    "gemma2": Family(defaults=_GEMMA2, decoder=decoders.gemma2, naming=_GEMMA2_NAMING),
    "gemma3_text": Family(defaults=_GEMMA3, decoder=decoders.gemma3, naming=_GEMMA2_NAMING),
    "glm": Family(defaults=_GLM, decoder=decoders.glm, naming=_GLM_NAMING),
    "glm4": Family(defaults=_GLM, decoder=decoders.glm4, naming=_GLM4_NAMING),
    "gpt2": Family(defaults=_GPT2, decoder=decoders.gpt2, naming=_GPT2_NAMING),
    "gpt_bigcode": Family(defaults=_GPT_BIGCODE, decoder=decoders.gpt_bigcode, naming=_GPT_BIGCODE_NAMING),
    "granite": Family(defaults=_GRANITE, decoder=decoders.granite),
    "helium": Family(defaults=_HELIUM, decoder=decoders.helium, naming=_INTERLEAVED),
    "internlm3": Family(defaults=_INTERNLM3, decoder=decoders.llama),
    "jais2": Family(defaults=_JAIS2, decoder=decoders.jais2),
    "llama": Family(defaults=_LLAMA, decoder=decoders.llama),
    "ministral": Family(defaults=_MISTRAL, decoder=decoders.ministral),
    "mistral": Family(defaults=_MISTRAL, decoder=decoders.mistral),
    "nemotron": Family(defaults=_NEMOTRON, decoder=decoders.nemotron, naming=_GEMMA_NAMING),
    "olmo": Family(defaults=_OLMO, decoder=decoders.olmo, naming=Naming(constant_norms=True)),
    "olmo2": Family(defaults=_OLMO, decoder=decoders.olmo2, naming=_OLMO2_NAMING),
    "olmo3": Family(defaults=_OLMO3, decoder=decoders.olmo3, naming=_OLMO2_NAMING),
    "opt": Family(defaults=_OPT, decoder=decoders.opt, naming=_OPT_NAMING),
    "phi3": Family(defaults=_PHI3, decoder=decoders.phi3, naming=_PHI3_NAMING),
    "qwen2": Family(defaults=_QWEN2, decoder=decoders.qwen2),
    "qwen3": Family(defaults={**_QWEN2, "head_dim": 128}, decoder=decoders.qwen3),
    "seed_oss": Family(defaults=_SEED_OSS, decoder=decoders.seed_oss),
    "smollm3": Family(defaults=_SMOLLM3, decoder=decoders.smollm3),
    "stablelm": Family(defaults=_STABLELM, decoder=decoders.stablelm),
    "starcoder2": Family(defaults=_STARCODER2, decoder=decoders.starcoder2, naming=_STARCODER2_NAMING),
    "vaultgemma": Family(defaults=_GEMMA2, decoder=decoders.vaultgemma, naming=_VAULTGEMMA_NAMING),
}
