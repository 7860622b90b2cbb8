"""Writes genai_config.json, with which onnxruntime-genai runs an exported folder."""

import json
from collections.abc import Collection
from pathlib import Path

from onward_server.export.decoder_config import DecoderConfig
from onward_server.json_value import Json
from onward_server.model.source.description import read_eos_token_ids
from onward_server.model.source.json_file import JsonObject, read_json_object

_TYPES = frozenset(
    {
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3_text",
        "granite",
        "llama",
        "mistral",
        "nemotron",
        "olmo",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    }
)
"""The families that can be exported and that onnxruntime-genai knows by name."""
_OTHER_TYPE = "decoder"
"""Its name for a decoder of any family. It runs all these types in the same way, except `_SWITCHING_TYPE`."""
_SWITCHING_TYPE, _SWITCHES_ABOVE = "phi3", 4096
"""It computes sequences of this type again when they exceed this length, where LongRoPE changes the rotation."""
_MAX_LENGTH = 8192
"""The default maximum length of a sequence. onnxruntime-genai allocates the KV cache for it at once."""
_SEARCH_KEYS = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty")
"""The keys of generation_config.json that mean the same under `search`."""


def write_genai_config(
    folder: Path, config: DecoderConfig, *, graph: str, inputs: Collection[str], shares_cache: bool, head_size: int
) -> None:
    """Writes the file, with the token ids and sampling defaults of the folder's other files.

    Args:
        folder: The exported folder with config.json and, if there is one, generation_config.json.
        config: What is exported.
        graph: The name of its file.
        inputs: The names of its inputs.
        head_size: The last axis of its caches.
        shares_cache: Whether it can write new keys and values behind the old ones, in the same memory.

    Raises:
        ModelFolderError: A file of the folder is malformed.
    """
    generation = read_json_object(folder / "generation_config.json")
    content: dict[str, Json] = {
        "model": {
            "type": _type(config),
            "context_length": config.max_positions,
            "vocab_size": config.vocab_size,
            "decoder": {**_decoder(config, graph, inputs), "head_size": head_size},
            **_token_ids(folder, generation),
        },
        "search": {
            **{key: value for key in _SEARCH_KEYS if isinstance(value := generation.get(key), bool | int | float)},
            "max_length": min(config.max_positions, _MAX_LENGTH),
            "past_present_share_buffer": shares_cache,
        },
    }
    (folder / "genai_config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _type(config: DecoderConfig) -> str:
    switches_above = {layer.rope.long.above for layer in config.layers if layer.rope and layer.rope.long}
    if switches_above == {_SWITCHES_ABOVE}:
        return _SWITCHING_TYPE
    return config.model_type if config.model_type in _TYPES else _OTHER_TYPE


def _token_ids(folder: Path, generation: JsonObject) -> dict[str, Json]:
    """The ids that end a sequence, as the server reads them, and those that begin and pad one."""
    ends = sorted(read_eos_token_ids(folder))
    ids: dict[str, Json] = {}
    if ends:
        ids = {"eos_token_id": ends[0] if len(ends) == 1 else [*ends], "pad_token_id": ends[0]}
    for source in (read_json_object(folder / "config.json"), generation):
        for key in ("bos_token_id", "pad_token_id"):
            found = source.get(key)
            if isinstance(found, int) and found >= 0:
                ids[key] = found
    return ids


def _decoder(config: DecoderConfig, file: str, names: Collection[str]) -> dict[str, Json]:
    plain = [name for name in ("input_ids", "attention_mask", "position_ids") if name in names]
    return {
        "session_options": {},
        "filename": file,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": len(config.layers),
        "num_key_value_heads": config.num_kv_heads,
        "inputs": {
            **{name: name for name in plain},
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
