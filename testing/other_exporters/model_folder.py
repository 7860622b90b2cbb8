"""Writes a model folder: model.onnx and its configuration files, without a tokenizer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from testing.other_exporters.decoder_config import DecoderConfig

MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Token ids for the configuration files; the first end-of-sequence id is also the padding id."""

    bos: int | None = None
    eos: tuple[int, ...]


def write_decoder(
    directory: Path,
    config: DecoderConfig,
    model: onnx.ModelProto,
    *,
    tokens: SpecialTokens,
    external_data: bool = False,
) -> None:
    """Writes model.onnx, config.json, generation_config.json and genai_config.json.

    With `external_data` the weights go to model.onnx.data, which models over 2 GB require.
    """
    write_model(model, directory, external_data=external_data)
    write_json(directory / "config.json", model_config(config, tokens))
    write_json(directory / "generation_config.json", _token_ids(tokens))
    write_json(directory / "genai_config.json", genai_config(config, tokens, model))


def write_model(model: onnx.ModelProto, directory: Path, *, external_data: bool = False) -> None:
    """Writes or overwrites model.onnx; creates the directory if needed."""
    directory.mkdir(parents=True, exist_ok=True)
    weights_file = f"{MODEL_FILE}.data"
    (directory / weights_file).unlink(missing_ok=True)
    onnx.save_model(  # pyright: ignore[reportUnknownMemberType]
        model, directory / MODEL_FILE, save_as_external_data=external_data, location=weights_file, size_threshold=1024
    )
    if external_data:  # onnx makes it readable only by its owner
        (directory / weights_file).chmod((directory / MODEL_FILE).stat().st_mode)


def model_config(config: DecoderConfig, tokens: SpecialTokens) -> dict[str, object]:
    """The contents of config.json, in Hugging Face's format."""
    architecture, model_type = ("Qwen3ForCausalLM", "qwen3") if config.qk_norm else ("LlamaForCausalLM", "llama")
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": config.attention_bias,
        "tie_word_embeddings": config.tied_embeddings,
        "hidden_act": "silu",
        **_token_ids(tokens),
    }


def genai_config(config: DecoderConfig, tokens: SpecialTokens, model: onnx.ModelProto) -> dict[str, object]:
    """The contents of genai_config.json, with which onnxruntime-genai loads the folder."""
    inputs = {value.name for value in model.graph.input}
    plain = {name: name for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}
    decoder = {
        "session_options": {},
        "filename": MODEL_FILE,
        "head_size": config.head_dim,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "inputs": {
            **plain,
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    shape = {"type": "llama", "context_length": config.max_positions, "vocab_size": config.vocab_size}
    search = {"max_length": config.max_positions, "past_present_share_buffer": "position_ids" not in inputs}
    return {"model": {**shape, "decoder": decoder, **_token_ids(tokens)}, "search": search}


def _token_ids(tokens: SpecialTokens) -> dict[str, object]:
    eos: int | list[int] = tokens.eos[0] if len(tokens.eos) == 1 else list(tokens.eos)
    ids: dict[str, object] = {"eos_token_id": eos, "pad_token_id": tokens.eos[0]}
    return ids if tokens.bos is None else {"bos_token_id": tokens.bos, **ids}


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Writes indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
