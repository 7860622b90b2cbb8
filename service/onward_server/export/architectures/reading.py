"""Reads config.json: finds the family of the model, and the configuration of its decoder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from onward_server.errors import ExportError
from onward_server.export.architectures.config_values import ConfigValues
from onward_server.export.architectures.families import FAMILIES
from onward_server.export.architectures.naming import Naming
from onward_server.export.architectures.unsupported import kind_of
from onward_server.export.decoder_config import DecoderConfig

_TEXT_PARTS = {"gemma3": "gemma3_text", "mistral3": "mistral"}
"""Multimodal models whose text part can be exported, and its family if config.json does not name it."""
_ABOVE = ("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version")
"""Keys of the whole model that apply to its text part, too."""
_OTHER_HEAD = re.compile(r"For(?!CausalLM|ConditionalGeneration)[A-Z]\w*$")
_CLASS_ENDS = ("forcausallm", "lmheadmodel", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model according to config.json."""

    decoder: DecoderConfig
    naming: Naming
    says_untied: bool
    """Whether config.json says that the output layer has weights of its own."""
    is_part: bool
    """Whether there are weights of other parts as well, such as a vision tower."""
    values: Mapping[str, object]
    """The config.json of the decoder alone, with its sizes even where the checkpoint relies on defaults."""


def read_architecture(config: Mapping[str, object]) -> Architecture:
    """Reads config.json.

    Raises:
        ExportError: The model or its quantization is not supported, or a value is missing or invalid.
    """
    _require_causal(config.get("architectures"))
    values = _text_part(config)
    for part in (config, values):
        _require_floats(part)
    model_type = _model_type(values)
    family = FAMILIES.get(model_type)
    if family is None:
        raise ExportError(
            f"config.json: model_type is {model_type!r}, {kind_of(model_type)} that cannot be exported; supported are "
            f"{', '.join(sorted({*FAMILIES, *_TEXT_PARTS}))}"
        )
    decoder = family.decoder(ConfigValues(values={**values, "model_type": model_type}, defaults=family.defaults))
    return Architecture(
        decoder=decoder,
        naming=family.naming,
        says_untied=values.get("tie_word_embeddings") is False,
        is_part=_family_of_part(config) is not None,
        values={**values, **_sizes(decoder)},
    )


def _require_floats(config: Mapping[str, object]) -> None:
    for key in ("quantization_config", "compression_config", "quantization"):
        if found := config.get(key):
            method = cast(dict[str, object], found).get("quant_method", "unknown") if isinstance(found, dict) else found
            raise ExportError(
                f"config.json: {key} has quant_method {method!r}; only checkpoints in float32, float16, bfloat16 or "
                "float64 can be exported; use the checkpoint that this one was made from"
            )


def _require_causal(architectures: object) -> None:
    names = cast(list[object], architectures) if isinstance(architectures, list) else []
    if names and all(isinstance(name, str) and _OTHER_HEAD.search(name) for name in names):
        raise ExportError(
            f"config.json: architectures is {names}, which does not continue a text; use a checkpoint of a causal "
            "language model, such as LlamaForCausalLM"
        )


def _text_part(config: Mapping[str, object]) -> Mapping[str, object]:
    """The values of the decoder: for a multimodal model, those of its text part and a few of the whole model."""
    family = _family_of_part(config)
    if family is None:
        return config
    top = ConfigValues(values=config, defaults={})
    text = top.section("text_config")
    if text is None:
        raise top.invalid("text_config", "an object with the configuration of the text part")
    above = {key: config[key] for key in _ABOVE if config.get(key) is not None}
    return {"model_type": family, **text, **above}


def _family_of_part(config: Mapping[str, object]) -> str | None:
    """The family of the text part of a multimodal model; None for other models."""
    model_type = config.get("model_type")
    return _TEXT_PARTS.get(model_type) if isinstance(model_type, str) else None


def _model_type(config: Mapping[str, object]) -> str:
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type:
        return model_type
    architectures = config.get("architectures")
    for name in cast(list[object], architectures) if isinstance(architectures, list) else []:
        for family in FAMILIES:
            if str(name).lower() in {family.replace("_", "") + end for end in _CLASS_ENDS}:
                return family
    raise ConfigValues(values=config, defaults={}).invalid("model_type", f"one of {', '.join(sorted(FAMILIES))}")


def _sizes(decoder: DecoderConfig) -> Mapping[str, object]:
    """The values that config.json may lack, because the configuration class of the family has defaults for them."""
    return {
        "model_type": decoder.model_type,
        "vocab_size": decoder.vocab_size,
        "hidden_size": decoder.hidden_size,
        "num_hidden_layers": len(decoder.layers),
        "num_attention_heads": decoder.num_heads,
        "num_key_value_heads": decoder.num_kv_heads,
        "head_dim": decoder.head_dim,
        "max_position_embeddings": decoder.max_positions,
    }
