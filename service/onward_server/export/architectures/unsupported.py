"""Names the kinds of models that cannot be exported, for error texts."""

from collections.abc import Mapping

_EXPERTS = "a mixture of experts"
_EXPERTS_AND_LATENTS = "a mixture of experts with latent attention"
_HYBRID = "a state-space or hybrid model"
_ALIBI = "a model with ALiBi positions"
_PARALLEL = "a model whose attention and MLP run side by side"
_ENCODER_DECODER = "an encoder-decoder"
_ENCODER = "an encoder"
_MULTIMODAL = "a model for images or audio"

_MODEL_TYPES: Mapping[str, str] = {
    _EXPERTS: (
        "mixtral qwen2_moe qwen3_moe gpt_oss granitemoe granitemoeshared olmoe flex_olmo phimoe dbrx jetmoe "
        "llama4_text ernie4_5_moe glm4_moe hunyuan_v1_moe minimax_m2 dots1 lfm2_moe arctic grok exaone_moe "
        "afmoe cohere2_moe"
    ),
    _EXPERTS_AND_LATENTS: (
        "deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 longcat_flash glm4_moe_lite glm_moe_dsa minicpm3 kimi_k25"
    ),
    _HYBRID: (
        "mamba mamba2 falcon_mamba jamba bamba zamba zamba2 falcon_h1 nemotron_h granitemoehybrid qwen3_next "
        "qwen3_5_text lfm2 lfm3 recurrent_gemma rwkv xlstm minimax kimi_linear olmo_hybrid"
    ),
    _ALIBI: "bloom mpt baichuan",
    _PARALLEL: "phi gpt_neox gptj codegen falcon cohere cohere2 persimmon",
    _ENCODER_DECODER: (
        "t5 mt5 umt5 t5gemma t5gemma2 bart mbart pegasus m2m_100 marian blenderbot led longt5 prophetnet whisper"
    ),
    _ENCODER: (
        "bert roberta xlm-roberta distilbert deberta deberta-v2 electra albert modernbert mpnet nomic_bert eurobert"
    ),
    _MULTIMODAL: (
        "qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe qwen2_audio qwen2_5_omni llava llava_next llava_onevision idefics "
        "idefics2 idefics3 smolvlm mllama paligemma internvl gemma3n gemma4 gemma4_unified llama4 phi4_multimodal "
        "phi3_v pixtral aya_vision voxtral granite_speech qwen3_5 lfm2_vl"
    ),
}
_KINDS = {model_type: kind for kind, model_types in _MODEL_TYPES.items() for model_type in model_types.split()}


def kind_of(model_type: str) -> str:
    """The kind of a model, with an article; `a family` if the model type is unknown."""
    return _KINDS.get(model_type, "a family")
