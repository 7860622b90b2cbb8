"""Reads the served model's weights back into PyTorch, so that what ships can be judged; it writes nothing."""

import json
from pathlib import Path

import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from models.export.decoder_config import DecoderConfig
from models.export.model_folder import MODEL_FILE
from models.pocket.chat_format import SERVED
from models.pocket.decoder import Decoder


def load_served(directory: Path = SERVED) -> Decoder:
    """The model of a served folder, on the CPU, for inference."""
    model = Decoder(_config(directory))
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(directory / MODEL_FILE).graph.initializer}
    weights = _weights(stored, model.config)
    model.load_state_dict({name: torch.from_numpy(weight.copy()) for name, weight in weights.items()})
    return model.eval()


def _config(directory: Path) -> DecoderConfig:
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


def _weights(stored: dict[str, NDArray], config: DecoderConfig) -> dict[str, NDArray]:
    """Every weight by its own name; the graph holds matrices transposed, and some joined along their outputs."""
    found: dict[str, NDArray] = {}
    for name in config.weight_shapes():
        if name in stored:
            found[name] = stored[name]
        elif f"{name}.transposed" in stored:
            found[name] = stored[f"{name}.transposed"].T
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}"
        joined = stored[f"{prefix}.self_attn.qkv_proj.weight.transposed"].T
        ends = [config.query_size, config.query_size + config.kv_size]
        for side, start, end in zip("qkv", [0, *ends], [*ends, None], strict=True):
            found[f"{prefix}.self_attn.{side}_proj.weight"] = joined[start:end]
        joined = stored[f"{prefix}.mlp.gate_up_proj.weight.transposed"].T
        found[f"{prefix}.mlp.gate_proj.weight"] = joined[: config.intermediate_size]
        found[f"{prefix}.mlp.up_proj.weight"] = joined[config.intermediate_size :]
    return found
