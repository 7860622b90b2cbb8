"""Reads config.json as the configuration of a decoder: a function for each kind of model.

Each was compared with the model of the same name in transformers 5.24.
"""

import math
from dataclasses import replace

from onward_server.export.architectures.config_values import ConfigValues
from onward_server.export.architectures.family import (
    ATTENTION,
    MLP,
    QUERY_KEY_VALUE,
    UNGATED_MLP,
    Keys,
    alternating_layers,
    biases_if,
    layer_types,
    num_layers,
    reject_if,
    standard_decoder,
    uniform_layers,
)
from onward_server.export.decoder_config import DecoderConfig, Layer

_EQUAL_HEADS = {"num_key_value_heads": None, "head_dim": None}
"""For families that have no such keys: they are ignored if config.json has them."""


def llama(config: ConfigValues) -> DecoderConfig:
    """Llama."""
    biases = biases_if(config, attention_bias=ATTENTION, mlp_bias=MLP)
    return standard_decoder(config, uniform_layers(config), biases=biases)


def mistral(config: ConfigValues) -> DecoderConfig:
    """Mistral: all layers have the window."""
    return standard_decoder(config, uniform_layers(config, window=config.optional_size("sliding_window")))


def ministral(config: ConfigValues) -> DecoderConfig:
    """Ministral: some layers have the window."""
    window = config.optional_size("sliding_window")
    types = layer_types(config, lambda _: window is not None)
    return standard_decoder(config, alternating_layers(config, types, window))


def cwm(config: ConfigValues) -> DecoderConfig:
    """Code World Model: Llama with windows."""
    types = layer_types(config, lambda index: index % 4 != 0)
    layers = alternating_layers(config, types, config.optional_size("sliding_window"))
    return standard_decoder(config, layers, biases=biases_if(config, mlp_bias=MLP))


def _qwen_layers(config: ConfigValues) -> list[Layer]:
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    first = config.get("max_window_layers")
    if not isinstance(first, int) or first < 0:
        raise config.invalid("max_window_layers", "an integer of 0 or more")
    types = layer_types(config, lambda index: window is not None and index >= first)
    return list(alternating_layers(config, types, window))


def qwen2(config: ConfigValues) -> DecoderConfig:
    """Qwen2: biases of queries, keys and values."""
    return standard_decoder(config, _qwen_layers(config), biases=QUERY_KEY_VALUE)


def qwen3(config: ConfigValues) -> DecoderConfig:
    """Qwen3: norms of queries and keys."""
    decoder = standard_decoder(config, _qwen_layers(config), biases=biases_if(config, attention_bias=ATTENTION))
    return replace(decoder, qk_norm="heads")


def gemma(config: ConfigValues) -> DecoderConfig:
    """Gemma."""
    reject_if(config, "use_bidirectional_attention", "attention to later tokens")
    decoder = standard_decoder(config, uniform_layers(config), biases=biases_if(config, attention_bias=ATTENTION))
    # the first checkpoints say gelu, but were trained with its tanh approximation
    says_gelu = config.get("hidden_act") == "gelu"
    return replace(
        decoder,
        activation="gelu_tanh" if says_gelu else decoder.activation,
        embedding_scale=math.sqrt(decoder.hidden_size),
    )


def _gemma2_decoder(config: ConfigValues, layers: list[Layer]) -> DecoderConfig:
    reject_if(config, "use_bidirectional_attention", "attention to later tokens")
    biases = biases_if(config, attention_bias=ATTENTION)
    decoder = standard_decoder(config, layers, biases=biases, keys=Keys(activation="hidden_activation"))
    return replace(
        decoder,
        output_norms=True,
        attention_scale=config.number("query_pre_attn_scalar") ** -0.5,
        embedding_scale=math.sqrt(decoder.hidden_size),
        logits_softcap=config.optional_number("final_logit_softcapping"),
    )


def gemma2(config: ConfigValues) -> DecoderConfig:
    """Gemma 2: norms of outputs, soft caps, and a window in every other layer."""
    types = layer_types(config, lambda index: index % 2 == 0)
    layers = alternating_layers(config, types, config.optional_size("sliding_window"))
    decoder = _gemma2_decoder(config, list(layers))
    return replace(decoder, attention_softcap=config.optional_number("attn_logit_softcapping"))


def vaultgemma(config: ConfigValues) -> DecoderConfig:
    """VaultGemma: Gemma 2 without norms of outputs."""
    return replace(gemma2(config), output_norms=False)


def gemma3(config: ConfigValues) -> DecoderConfig:
    """The text part of Gemma 3."""
    pattern = config.size("sliding_window_pattern")
    types = layer_types(config, lambda index: (index + 1) % pattern != 0)
    layers = alternating_layers(
        config,
        types,
        config.optional_size("sliding_window"),
        rope_of_sliding={"rope_theta": config.get("rope_local_base_freq")},
    )
    return replace(_gemma2_decoder(config, list(layers)), qk_norm="heads")


def phi3(config: ConfigValues) -> DecoderConfig:
    """Phi-3 and Phi-4-mini."""
    return standard_decoder(config, uniform_layers(config, window=config.optional_size("sliding_window")))


def smollm3(config: ConfigValues) -> DecoderConfig:
    """SmolLM3: some layers have no positions."""
    number = num_layers(config)
    if config.get("no_rope_layers") is None:
        interval = config.size("no_rope_layer_interval")
        rotated = [(index + 1) % interval != 0 for index in range(number)]
    else:
        rotated = [bool(item) for item in config.items("no_rope_layers", number)]
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    types = layer_types(config, lambda index: window is not None and not rotated[index])
    layers = [
        layer if has_rope else replace(layer, rope=None)
        for layer, has_rope in zip(alternating_layers(config, types, window), rotated, strict=True)
    ]
    return standard_decoder(config, layers, biases=biases_if(config, attention_bias=ATTENTION, mlp_bias=MLP))


def granite(config: ConfigValues) -> DecoderConfig:
    """Granite: Llama with multipliers."""
    return replace(
        llama(config),
        attention_scale=config.number("attention_multiplier"),
        embedding_scale=config.number("embedding_multiplier"),
        residual_scale=config.number("residual_multiplier"),
        logits_scale=1 / config.number("logits_scaling"),
    )


def olmo2(config: ConfigValues) -> DecoderConfig:
    """OLMo 2: norms of outputs alone."""
    decoder = standard_decoder(config, uniform_layers(config), biases=biases_if(config, attention_bias=ATTENTION))
    return replace(decoder, input_norms=False, output_norms=True, qk_norm="full")


def olmo3(config: ConfigValues) -> DecoderConfig:
    """OLMo 3: OLMo 2 with windows."""
    types = layer_types(config, lambda index: (index + 1) % 4 != 0)
    layers = alternating_layers(config, types, config.optional_size("sliding_window"), rope_of_sliding={})
    decoder = standard_decoder(config, layers, biases=biases_if(config, attention_bias=ATTENTION))
    return replace(decoder, input_norms=False, output_norms=True, qk_norm="full")


def exaone4(config: ConfigValues) -> DecoderConfig:
    """EXAONE 4: with windows, the layers without one have no positions."""
    window = config.optional_size("sliding_window")
    pattern = config.get("sliding_window_pattern") or 0
    if not isinstance(pattern, int):
        raise config.invalid("sliding_window_pattern", "an integer, if config.json has no layer_types")
    types = layer_types(config, lambda index: window is not None and bool(pattern) and (index + 1) % pattern != 0)
    layers = [
        layer if window is None or layer.window is not None else replace(layer, rope=None)
        for layer in alternating_layers(config, types, window)
    ]
    return replace(standard_decoder(config, layers), input_norms=False, output_norms=True, qk_norm="heads")


def ernie(config: ConfigValues) -> DecoderConfig:
    """ERNIE 4.5."""
    return standard_decoder(config, uniform_layers(config), biases=biases_if(config, use_bias=ATTENTION | MLP))


def helium(config: ConfigValues) -> DecoderConfig:
    """Helium: no bias of the output projection."""
    biases = biases_if(config, attention_bias=QUERY_KEY_VALUE, mlp_bias=MLP)
    return standard_decoder(config, uniform_layers(config), biases=biases)


def glm(config: ConfigValues) -> DecoderConfig:
    """GLM."""
    return standard_decoder(config, uniform_layers(config), biases=biases_if(config, attention_bias=QUERY_KEY_VALUE))


def glm4(config: ConfigValues) -> DecoderConfig:
    """GLM-4-0414: norms of outputs."""
    return replace(glm(config), output_norms=True)


def seed_oss(config: ConfigValues) -> DecoderConfig:
    """Seed-OSS."""
    biases = biases_if(config, attention_bias=QUERY_KEY_VALUE, attention_out_bias=frozenset({"o_proj"}), mlp_bias=MLP)
    return standard_decoder(config, uniform_layers(config), biases=biases)


def arcee(config: ConfigValues) -> DecoderConfig:
    """Arcee: no gate."""
    biases = biases_if(config, attention_bias=ATTENTION, mlp_bias=UNGATED_MLP)
    return replace(standard_decoder(config, uniform_layers(config), biases=biases), gated=False)


def nemotron(config: ConfigValues) -> DecoderConfig:
    """Nemotron."""
    return _with_layer_norms_and_no_gate(config, Keys(norm_eps="norm_eps"))


def jais2(config: ConfigValues) -> DecoderConfig:
    """Jais 2."""
    return _with_layer_norms_and_no_gate(config, Keys(norm_eps="layer_norm_eps"))


def _with_layer_norms_and_no_gate(config: ConfigValues, keys: Keys) -> DecoderConfig:
    biases = biases_if(config, attention_bias=ATTENTION, mlp_bias=UNGATED_MLP)
    decoder = standard_decoder(config, uniform_layers(config), biases=biases, keys=keys)
    return replace(decoder, norm="layer", gated=False)


def stablelm(config: ConfigValues) -> DecoderConfig:
    """StableLM."""
    reject_if(config, "use_parallel_residual", "attention and MLP side by side")
    reject_if(config, "qk_layernorm", "a layer norm of each head")
    biases = biases_if(config, use_qkv_bias=QUERY_KEY_VALUE)
    decoder = standard_decoder(config, uniform_layers(config), biases=biases, keys=Keys(norm_eps="layer_norm_eps"))
    return replace(decoder, norm="layer")


def olmo(config: ConfigValues) -> DecoderConfig:
    """OLMo."""
    reject_if(config, "clip_qkv", "clipping of queries, keys and values")
    decoder = standard_decoder(config, uniform_layers(config), biases=biases_if(config, attention_bias=ATTENTION))
    return replace(decoder, norm="layer", norm_eps=1e-5)


def starcoder2(config: ConfigValues) -> DecoderConfig:
    """StarCoder2."""
    layers = uniform_layers(config, window=config.optional_size("sliding_window"))
    biases = biases_if(config, use_bias=ATTENTION | UNGATED_MLP)
    decoder = standard_decoder(config, layers, biases=biases, keys=Keys(norm_eps="norm_epsilon"))
    return replace(decoder, norm="layer", gated=False)


def gpt2(config: ConfigValues) -> DecoderConfig:
    """GPT-2."""
    reject_if(config, "scale_attn_by_inverse_layer_idx", "another scale of attention in each layer")
    reject_if(config, "add_cross_attention", "cross-attention")
    hidden = config.size("n_embd")
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": config.get("n_layer"),
        "num_attention_heads": config.get("n_head"),
        "max_position_embeddings": config.get("n_positions"),
        "intermediate_size": config.optional_size("n_inner") or 4 * hidden,
        **_EQUAL_HEADS,
    }
    config = replace(config, values={**config.values, **sizes})
    layers = [Layer(rope=None)] * num_layers(config)
    keys = Keys(activation="activation_function", norm_eps="layer_norm_epsilon")
    decoder = standard_decoder(config, layers, biases=ATTENTION | UNGATED_MLP, keys=keys)
    scale = None if config.flag("scale_attn_weights") else 1.0
    return replace(decoder, norm="layer", gated=False, learned_positions=True, attention_scale=scale)


def gpt_bigcode(config: ConfigValues) -> DecoderConfig:
    """GPT-BigCode, as SantaCoder and StarCoder: GPT-2 with one head of keys and values."""
    if not config.flag("multi_query"):
        raise config.invalid("multi_query", "true")
    return replace(gpt2(config), num_kv_heads=1)


def opt(config: ConfigValues) -> DecoderConfig:
    """OPT."""
    if not config.flag("do_layer_norm_before"):
        raise config.invalid("do_layer_norm_before", "true")
    for key in ("enable_bias", "layer_norm_elementwise_affine"):
        if not config.flag(key):
            raise config.invalid(key, "true")
    reject_if(config, "_remove_final_layer_norm", "a decoder without a norm at its end")
    width = config.optional_size("word_embed_proj_dim")
    if width not in (None, config.size("hidden_size")):
        raise config.invalid("word_embed_proj_dim", "hidden_size, since projections of embeddings are not supported")
    config = replace(config, values={**config.values, "intermediate_size": config.get("ffn_dim"), **_EQUAL_HEADS})
    layers = [Layer(rope=None)] * num_layers(config)
    keys = Keys(activation="activation_function")
    decoder = standard_decoder(config, layers, biases=ATTENTION | UNGATED_MLP, keys=keys)
    return replace(decoder, norm="layer", norm_eps=1e-5, gated=False, learned_positions=True)
