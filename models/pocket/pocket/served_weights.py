"""Reads the shape and the weights of the served model, to evaluate it in PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pocket.chat_format import SERVED
from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.model_folder import MODEL_FILE

Weights = dict[str, NDArray[np.float32]]


def served_config(directory: Path = SERVED) -> DecoderConfig:
    """The shape in config.json."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return DecoderConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        num_kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
        max_positions=config["max_position_embeddings"],
        rope_theta=config["rope_theta"],
        norm_eps=config["rms_norm_eps"],
    )


def served_weights(config: DecoderConfig, directory: Path = SERVED) -> Weights:
    """All weights by Hugging Face name. The graph has matrices transposed, and some joined along their outputs."""
    graph = onnx.load(directory / MODEL_FILE).graph  # pyright: ignore[reportUnknownMemberType]
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found: Weights = {}
    for name in config.weight_shapes():
        if name in stored:
            found[name] = stored[name]
        elif f"{name}.transposed" in stored:
            found[name] = stored[f"{name}.transposed"].T
    for layer in range(config.num_layers):
        found |= _split_layer(stored, config, f"model.layers.{layer}")
    return found


def _split_layer(stored: Weights, config: DecoderConfig, prefix: str) -> Weights:
    queries, keys = config.query_size, config.query_size + config.kv_size
    attention = stored[f"{prefix}.self_attn.qkv_proj.weight.transposed"].T
    gates = stored[f"{prefix}.mlp.gate_up_proj.weight.transposed"].T
    return {
        f"{prefix}.self_attn.q_proj.weight": attention[:queries],
        f"{prefix}.self_attn.k_proj.weight": attention[queries:keys],
        f"{prefix}.self_attn.v_proj.weight": attention[keys:],
        f"{prefix}.mlp.gate_proj.weight": gates[: config.intermediate_size],
        f"{prefix}.mlp.up_proj.weight": gates[config.intermediate_size :],
    }
