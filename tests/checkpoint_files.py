"""Writes safetensors files, well-formed or not, and small random Llama checkpoints that tests change."""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onward_server.export.architectures.reading import read_architecture
from onward_server.export.checkpoint.checkpoint_folder import CheckpointFolder

Array = NDArray[np.float32]

LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
_NAMES = {
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    **{f"{side}_proj": f"self_attn.{side}_proj" for side in "qkvo"},
    **{f"{part}_proj": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
}


def entry(dtype: str, shape: object, start: int, end: int) -> dict[str, object]:
    """A tensor in the header of a safetensors file."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def file_of(header: object, data: bytes) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def safetensors(tensors: Mapping[str, NDArray[Any]], dtype: str | None = None) -> bytes:
    """A well-formed file. Arrays are stored as they are, or as BF16."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        stored = array
        if dtype == "BF16":
            stored = (array.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype("<u2")
        content = stored.tobytes()
        kind = (
            dtype or {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "u1": "U8", "i4": "I32"}[array.dtype.str[1:]]
        )
        header[name] = entry(kind, list(array.shape), len(data), len(data) + len(content))
        data += content
    return file_of(header, data)


def llama_weights(config: Mapping[str, Any] = LLAMA) -> dict[str, Array]:
    """Random weights of a Llama, by the names of its checkpoint."""
    weights: dict[str, Array] = {}
    for name, shape in read_architecture(config).decoder.weight_shapes().items():
        values = np.random.default_rng(Random(name).randrange(1 << 32)).normal(0, 0.5, shape).astype(np.float32)
        weights[llama_name(name)] = values
    return weights


def llama_name(canonical: str) -> str:
    """The checkpoint's name of a weight of `DecoderConfig.weight_shapes()`."""
    match canonical.split("."):
        case ["layers", index, module, parameter]:
            return f"model.layers.{index}.{_NAMES[module]}.{parameter}"
        case ["lm_head", parameter]:
            return f"lm_head.{parameter}"
        case ["final_norm", parameter]:
            return f"model.norm.{parameter}"
        case _:
            return f"model.{canonical}"


def write_checkpoint(
    folder: Path, config: Mapping[str, Any] = LLAMA, weights: Mapping[str, NDArray[Any]] | None = None
) -> Path:
    """Writes a checkpoint whose tokenizer.json is a placeholder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "model.safetensors").write_bytes(safetensors(llama_weights(config) if weights is None else weights))
    return folder


def opened(folder: Path) -> CheckpointFolder:
    """The checkpoint in a folder."""
    return CheckpointFolder.open(folder)
