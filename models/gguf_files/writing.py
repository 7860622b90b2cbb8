"""Writes a model of transformers as a GGUF file, by the conventions of llama.cpp's converter.

Names of tensors are those that the gguf package has for the names of transformers.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, RopeScalingType, get_tensor_name_map, quants
from numpy.typing import NDArray
from tokenizers import pre_tokenizers
from transformers import PretrainedConfig, PreTrainedModel

from models.gguf_files.blocks import stored
from models.gguf_files.cases import VOCABULARY, Case

Array = NDArray[np.float32]
_ARCHITECTURES = {name: architecture for architecture, name in MODEL_ARCH_NAMES.items()}


def write_gguf(case: Case, model: PreTrainedModel, file: Path) -> None:
    """Writes the file, and gives the model the weights that the file has."""
    writer = GGUFWriter(file, case.architecture)
    sizes = ("max_position_embeddings", "hidden_size", "num_hidden_layers", "num_attention_heads")
    config = model.config.to_dict() | {size: getattr(model.config, size) for size in sizes}
    _add_metadata(case, config, writer)
    _add_vocabulary(writer)
    names = get_tensor_name_map(_ARCHITECTURES[case.architecture], model.config.num_hidden_layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = names.get_name(name, try_suffixes=(".weight", ".bias"))
            converted = np.ascontiguousarray(_converted(case, name, parameter.numpy(), model.config))
            block_type = _type(case, tensor, converted)
            data = stored(converted, block_type, _seed(name)) if converted.ndim > 1 else converted
            writer.add_tensor(tensor, data, raw_dtype=block_type)
            floats = quants.dequantize(data, block_type).astype(np.float32).reshape(converted.shape)
            parameter.copy_(torch.from_numpy(_restored(case, name, floats, model.config)))
    for name, factors in _rope_tensors(config):
        writer.add_tensor(name, factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _type(case: Case, tensor: str, values: Array) -> GGMLQuantizationType:
    if values.ndim == 1 or tensor.startswith("position_embd"):
        return GGMLQuantizationType.F32
    return GGMLQuantizationType[case.type_of(tensor.split(".")[-2])]


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _converted(case: Case, name: str, values: Array, config: PretrainedConfig) -> Array:
    if case.architecture == "gpt2" and values.ndim == 2 and name.split(".")[-2].startswith("c_"):
        return values.T
    if name.endswith("norm.weight"):
        return values + np.float32(case.norm_offset)
    heads = _num_permuted_heads(case, name, config)
    if heads:
        return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    return values


def _restored(case: Case, name: str, values: Array, config: PretrainedConfig) -> Array:
    """Undoes `_converted`."""
    if case.architecture == "gpt2" and values.ndim == 2 and name.split(".")[-2].startswith("c_"):
        return values.T
    if name.endswith("norm.weight"):
        return values - np.float32(case.norm_offset)
    heads = _num_permuted_heads(case, name, config)
    if heads:
        return values.reshape(heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    return values


def _num_permuted_heads(case: Case, name: str, config: PretrainedConfig) -> int:
    if not case.permuted:
        return 0
    if ".q_proj." in name:
        return config.num_attention_heads
    return config.num_key_value_heads if ".k_proj." in name else 0


def _rope_tensors(config: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") == "longrope":
        for length in ("short", "long"):
            yield f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], np.float32)
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _llama3_factors(rope, config["hidden_size"] // config["num_attention_heads"])


def _llama3_factors(rope: dict[str, Any], head_dim: int) -> Array:
    factors: list[float] = []
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * pair / head_dim)
        share = min(max((original / wavelength - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - share) / rope["factor"] + share))
    return np.array(factors, np.float32)


def _add_metadata(case: Case, config: dict[str, Any], writer: GGUFWriter) -> None:
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config.get("n_inner") or config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    if "layer_norm_epsilon" in config or "norm_epsilon" in config:
        writer.add_layer_norm_eps(config.get("layer_norm_epsilon") or config["norm_epsilon"])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if case.settings.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    for key, add in (
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
        ("attention_multiplier", writer.add_attention_scale),
        ("embedding_multiplier", writer.add_embedding_scale),
        ("residual_multiplier", writer.add_residual_scale),
        ("logits_scaling", writer.add_logit_scale),
    ):
        if config.get(key):
            add(config[key])
    if case.architecture == "gemma3":
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
    _add_rope(config, writer)


def _add_rope(config: dict[str, Any], writer: GGUFWriter) -> None:
    rope = config.get("rope_parameters")
    if not rope:
        return
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(int(head_dim * (rope.get("partial_rotary_factor") or 1)))
    original = config.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings")
    match rope.get("rope_type"):
        case "linear" | "yarn":
            writer.add_rope_scaling_type(RopeScalingType(rope["rope_type"]))
            writer.add_rope_scaling_factor(rope["factor"])
        case "longrope":
            scale = config["max_position_embeddings"] / original
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
        case _:
            original = None
    if original:
        writer.add_rope_scaling_orig_ctx_len(original)


def _add_vocabulary(writer: GGUFWriter) -> None:
    """A tokenizer of bytes and one merge."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "<|begin|>", "<|end|>"]
    tokens += [f"<|{number}|>" for number in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 257 + [3] * (VOCABULARY - 257))
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_add_bos_token(False)  # noqa: FBT003  its only parameter
