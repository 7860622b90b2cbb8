"""Reads how a model of a GGUF file rotates queries and keys, as values of config.json."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from onward_server.errors import ExportError
from onward_server.export.decoder_config import DecoderConfig, Rope
from onward_server.export.gguf_model.gguf_file import GgufFile
from onward_server.export.gguf_model.gguf_tensor import require_readable
from onward_server.export.gguf_model.model_values import ModelValues
from onward_server.export.gguf_model.tensor_names import LONG_ROPE_FACTORS, ROPE_FACTORS, SHORT_ROPE_FACTORS
from onward_server.export.tensors import Floats, read_floats

_ORIGINAL = "original_max_position_embeddings"
_MAX_FACTORS = 1 << 16


def rope_values(model: ModelValues) -> Mapping[str, object]:
    """The values of config.json that determine the rotation.

    Raises:
        ExportError: A value is invalid, or the kind of scaling is not supported.
    """
    rotated = model.optional_size("rope.dimension_count") or model.head_dim
    original = model.optional_size("rope.scaling.original_context_length")
    scaling = _scaling(model)
    if scaling is not None and original is not None:
        scaling = {**scaling, _ORIGINAL: original}
    return {
        "rope_theta": model.optional_number("rope.freq_base") or 10_000.0,
        "rope_scaling": scaling,
        **({} if original is None else {_ORIGINAL: original}),
        **({} if rotated == model.head_dim else {"partial_rotary_factor": rotated / model.head_dim}),
    }


def _scaling(model: ModelValues) -> Mapping[str, object] | None:
    """The value of rope_scaling; None: frequencies are not scaled, or by factors in the file: see `with_factors`."""
    if LONG_ROPE_FACTORS in model.file.tensors or SHORT_ROPE_FACTORS in model.file.tensors:
        return _longrope(model)
    factor = model.optional_number("rope.scaling.factor") or model.optional_number("rope.scale_linear")
    key = model.key("rope.scaling.type")
    match kind := model.metadata.optional_text(key):
        case "none":
            return None
        case None | "linear":
            return None if factor in (None, 1.0) else {"rope_type": "linear", "factor": factor}
        case "yarn":
            return _yarn(model, factor or 1.0)
        case "longrope":
            raise ExportError(f"{key} is 'longrope', but the tensor {LONG_ROPE_FACTORS} is missing")
        case _:
            raise ExportError(f"{key} is {kind!r}; supported are none, linear, yarn and longrope")


def _yarn(model: ModelValues, factor: float) -> Mapping[str, object]:
    scaling: dict[str, object] = {"rope_type": "yarn", "factor": factor}
    for name in ("beta_fast", "beta_slow"):
        if (beta := model.optional_number(f"rope.scaling.yarn_{name}")) is not None:
            scaling[name] = beta
    attention_factor = model.optional_number("rope.scaling.yarn_attn_factor")
    multiplier = model.optional_number("rope.scaling.attn_factor")
    if multiplier is not None:  # of the factor that YaRN has by itself
        attention_factor = multiplier * (0.1 * math.log(max(factor, 1.0)) + 1.0)
    return scaling if attention_factor is None else {**scaling, "attention_factor": attention_factor}


def _longrope(model: ModelValues) -> Mapping[str, object]:
    scaling: dict[str, object] = {
        "rope_type": "longrope",
        "short_factor": _factors(model.file, SHORT_ROPE_FACTORS).tolist(),
        "long_factor": _factors(model.file, LONG_ROPE_FACTORS).tolist(),
    }
    attention_factor = model.optional_number("rope.scaling.attn_factor")
    return scaling if attention_factor is None else {**scaling, "attention_factor": attention_factor}


def with_factors(config: DecoderConfig, file: GgufFile) -> DecoderConfig:
    """The decoder with its frequencies divided by the factors of the file, which Llama 3 has.

    Raises:
        ExportError: There are not as many factors as frequencies, or some are invalid.
    """
    if ROPE_FACTORS not in file.tensors:
        return config
    factors = _factors(file, ROPE_FACTORS)
    layers = [
        layer if layer.rope is None else replace(layer, rope=_divided(layer.rope, factors)) for layer in config.layers
    ]
    return replace(config, layers=tuple(layers))


def _divided(rope: Rope, factors: Floats) -> Rope:
    if len(rope.frequencies) != len(factors):
        raise ExportError(f"{ROPE_FACTORS} has {len(factors)} values; the model rotates {len(rope.frequencies)} pairs")
    frequencies = np.array(rope.frequencies, np.float32) / factors
    return replace(rope, frequencies=tuple(float(frequency) for frequency in frequencies))


def _factors(file: GgufFile, name: str) -> Floats:
    info = file.tensors.get(name)
    if info is None or len(info.shape) != 1 or info.shape[0] > _MAX_FACTORS:
        raise ExportError(f"the tensor {name} is missing, or is not a vector; convert the file again")
    factors = read_floats(require_readable(info))
    if not np.isfinite(factors).all() or (factors <= 0).any():
        raise ExportError(f"the tensor {name} has values that are not above 0; convert the file again")
    return factors
