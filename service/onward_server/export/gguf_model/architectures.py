"""The architectures of GGUF that can be exported, each described by the config.json that transformers has for it.

The facts are those of llama.cpp, which reads these files, and of its converter, which writes them. The converter drops
what llama.cpp does not compute, such as the windows of Mistral, Qwen2 and StarCoder2, so the export lacks it, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onward_server.errors import ExportError
from onward_server.export.gguf_model.model_values import ModelValues
from onward_server.export.gguf_model.rope_config import rope_values

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufArchitecture:
    """How to describe the models of an architecture of GGUF."""

    model_type: str
    causal_lm: str
    """The class in transformers."""
    values: Callable[[ModelValues], Values]
    """What config.json has beside the sizes that all architectures have."""
    interleaved_rope: bool = False
    gated: bool = True


def _rms_decoder(model: ModelValues) -> Values:
    """A decoder with RMS norms and rotary positions."""
    eps = model.number("attention.layer_norm_rms_epsilon")
    return {"hidden_act": "silu", "rms_norm_eps": eps, **rope_values(model)}


def _llama(model: ModelValues) -> Values:
    return {
        **_rms_decoder(model),
        "attention_bias": model.has_tensor("attn_q.bias"),
        "mlp_bias": model.has_tensor("ffn_up.bias"),
    }


def _llama_or_mistral(model: ModelValues) -> Values:
    window = model.optional_size("attention.sliding_window")
    if window is None:
        return _llama(model)
    mistral = {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    return {**_rms_decoder(model), **mistral, "sliding_window": window}


def _qwen(model: ModelValues) -> Values:
    return {**_rms_decoder(model), "use_sliding_window": False, "sliding_window": None}


def _gemma(model: ModelValues) -> Values:
    return {**_rms_decoder(model), "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


def _gemma2(model: ModelValues) -> Values:
    window = model.optional_size("attention.sliding_window") or 4096
    soft_caps = {
        "attn_logit_softcapping": model.optional_number("attn_logit_softcapping"),
        "final_logit_softcapping": model.optional_number("final_logit_softcapping"),
    }
    return {
        **_gemma(model),
        "sliding_window": window,
        "layer_types": _layer_types(model, period=2),
        "query_pre_attn_scalar": _query_scalar(model, layers_of_27b=46),
        **{key: cap for key, cap in soft_caps.items() if cap is not None},
    }


def _gemma3(model: ModelValues) -> Values:
    window = model.optional_size("attention.sliding_window")
    return {
        **_gemma(model),
        "sliding_window": window,
        "layer_types": _layer_types(model, period=6 if window else 1),
        "rope_local_base_freq": model.optional_number("rope.freq_base_swa") or 10_000.0,
        "query_pre_attn_scalar": _query_scalar(model, layers_of_27b=62),
        "final_logit_softcapping": model.optional_number("final_logit_softcapping") or None,
    }


def _query_scalar(model: ModelValues, *, layers_of_27b: int) -> int:
    """Attention scores are divided by its root: the head size, but hidden size / heads in the 27B model."""
    if model.num_layers == layers_of_27b:
        return model.size("embedding_length") // model.num_heads
    return model.head_dim


def _phi3(model: ModelValues) -> Values:
    return {**_rms_decoder(model), "sliding_window": model.optional_size("attention.sliding_window")}


def _smollm3(model: ModelValues) -> Values:
    layers = range(1, model.num_layers + 1)
    return {
        **_rms_decoder(model),
        "no_rope_layers": [int(number % 4 != 0) for number in layers],
        "use_sliding_window": False,
        "sliding_window": None,
    }


def _granite(model: ModelValues) -> Values:
    if model.metadata.optional_flag(model.key("rope.scaling.finetuned")) is False:
        raise ExportError(
            f"{model.key('rope.scaling.finetuned')} is false: Granite without positions cannot be exported"
        )
    return {
        **_llama(model),
        "attention_multiplier": model.optional_number("attention.scale") or model.head_dim**-0.5,
        "embedding_multiplier": model.optional_number("embedding_scale") or 1.0,
        "residual_multiplier": model.optional_number("residual_scale") or 1.0,
        "logits_scaling": model.number("logit_scale"),
    }


def _arcee(model: ModelValues) -> Values:
    return {**_llama(model), "hidden_act": "relu2"}


def _ernie(model: ModelValues) -> Values:
    return {**_rms_decoder(model), "use_bias": model.has_tensor("attn_q.bias")}


def _olmo2(model: ModelValues) -> Values:
    window = model.optional_size("attention.sliding_window")
    if window is None:
        return _rms_decoder(model)
    return {
        **_rms_decoder(model),
        "model_type": "olmo3",
        "architectures": ["Olmo3ForCausalLM"],
        "sliding_window": window,
        "layer_types": _layer_types(model, period=4),
    }


def _gpt2(model: ModelValues) -> Values:
    if model.num_kv_heads != model.num_heads:
        raise ExportError(
            f"{model.key('attention.head_count_kv')} must be {model.num_heads}, the number of query heads"
        )
    return {
        "n_embd": model.size("embedding_length"),
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
        "n_positions": model.size("context_length"),
        "n_inner": model.size("feed_forward_length"),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": model.number("attention.layer_norm_epsilon"),
    }


def _starcoder2(model: ModelValues) -> Values:
    return {
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": model.number("attention.layer_norm_epsilon"),
        "use_bias": True,
        "sliding_window": model.optional_size("attention.sliding_window"),
        **rope_values(model),
    }


def _layer_types(model: ModelValues, *, period: int) -> Sequence[str]:
    """The attention of each layer: as the file lists it, or else a window in all layers but the last of each period."""
    key = model.key("attention.sliding_window_pattern")
    number = model.num_layers
    slides = model.metadata.flags(key, number)
    if slides is None:
        period = model.metadata.optional_size(key) or period
        slides = [index % period < period - 1 for index in range(number)]
    return ["sliding_attention" if sliding else "full_attention" for sliding in slides]


ARCHITECTURES: Mapping[str, GgufArchitecture] = {
    "arcee": GgufArchitecture(
        model_type="arcee", causal_lm="ArceeForCausalLM", values=_arcee, interleaved_rope=True, gated=False
    ),
    "ernie4_5": GgufArchitecture(
        model_type="ernie4_5", causal_lm="Ernie4_5ForCausalLM", values=_ernie, interleaved_rope=True
    ),
    "gemma": GgufArchitecture(model_type="gemma", causal_lm="GemmaForCausalLM", values=_gemma),
    "gemma2": GgufArchitecture(model_type="gemma2", causal_lm="Gemma2ForCausalLM", values=_gemma2),
    "gemma3": GgufArchitecture(model_type="gemma3_text", causal_lm="Gemma3ForCausalLM", values=_gemma3),
    "gpt2": GgufArchitecture(model_type="gpt2", causal_lm="GPT2LMHeadModel", values=_gpt2, gated=False),
    "granite": GgufArchitecture(
        model_type="granite", causal_lm="GraniteForCausalLM", values=_granite, interleaved_rope=True
    ),
    "llama": GgufArchitecture(
        model_type="llama", causal_lm="LlamaForCausalLM", values=_llama_or_mistral, interleaved_rope=True
    ),
    "olmo2": GgufArchitecture(model_type="olmo2", causal_lm="Olmo2ForCausalLM", values=_olmo2),
    "phi3": GgufArchitecture(model_type="phi3", causal_lm="Phi3ForCausalLM", values=_phi3),
    "qwen2": GgufArchitecture(model_type="qwen2", causal_lm="Qwen2ForCausalLM", values=_qwen),
    "qwen3": GgufArchitecture(model_type="qwen3", causal_lm="Qwen3ForCausalLM", values=_qwen),
    "smollm3": GgufArchitecture(
        model_type="smollm3", causal_lm="SmolLM3ForCausalLM", values=_smollm3, interleaved_rope=True
    ),
    "starcoder2": GgufArchitecture(
        model_type="starcoder2", causal_lm="Starcoder2ForCausalLM", values=_starcoder2, gated=False
    ),
}
