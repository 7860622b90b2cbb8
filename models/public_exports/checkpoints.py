"""Writes the checkpoints: random weights of few bits in every parameter, with a tokenizer of bytes."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from models.public_exports.architectures import ARCHITECTURES, END_OF_SEQUENCE, VOCABULARY, Architecture


def write_checkpoint(name: str, folder: Path) -> None:
    """Writes `config.json`, `model.safetensors` and the tokenizer's files."""
    model = random_model(name, ARCHITECTURES[name])
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def random_model(name: str, architecture: Architecture) -> torch.nn.Module:
    """A model in which no weight, bias or norm keeps its initial value."""
    settings = dict(architecture.configuration)
    config = AutoConfig.for_model(architecture.model_type, **settings, bos_token_id=256, eos_token_id=END_OF_SEQUENCE)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    model.generation_config.eos_token_id = END_OF_SEQUENCE
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parameter.copy_(
                torch.from_numpy(random_values(name, parameter_name, parameter.shape, tied=config.tie_word_embeddings))
            )
    return model


def random_values(model: str, name: str, shape: torch.Size, *, tied: bool) -> np.ndarray:
    """Multiples of one step, which is a number of three bits, so that the files compress well."""
    seed = int.from_bytes(hashlib.sha256(f"{model} {name}".encode()).digest()[:8])
    whole = np.clip(np.rint(np.random.default_rng(seed).normal(0, 2.5, shape)), -7, 7) / 2.5
    scale, offset = _scale_and_offset(model, name, shape)
    if tied and "embed" in name:
        scale /= 4  # else the token that was read last has the largest logit
    if tied and name == "model.norm.weight":
        offset += 3
    return (offset + whole * _three_bits(scale)).astype(np.float32)


def _scale_and_offset(model: str, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if "sinks" in name:
        return 1.0, 0.0
    if "norm" in name or ".ln_" in name or name.endswith(("ln_f.weight", "ln_f.bias")):
        offset = 1.0 if name.endswith("weight") and not model.startswith(("gemma", "nemotron")) else 0.0
        return 0.25, offset
    if len(shape) == 1 or name.endswith("bias"):
        return 0.25, 0.0
    if any(part in name for part in ("embed", "wte", "wpe")):
        return (0.25 if model.startswith("gemma") else 1.0), 0.0
    fan_in = shape[1] if len(shape) == 2 and model not in ("gpt2", "gpt-bigcode") else shape[-2]
    return _gain(name) / fan_in**0.5, 0.0


def _gain(name: str) -> float:
    if any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value", "c_attn", "Wqkv")):
        return 1.5
    if any(part in name for part in ("o_proj", "out_proj", "dense", "c_proj")):
        return 2.0
    return 3.0 if "lm_head" in name or "embed_out" in name else 1.5


def _three_bits(value: float) -> float:
    exponent = np.floor(np.log2(value))
    return float(np.rint(value / 2**exponent * 4) / 4 * 2**exponent)


_NAMED_TOKENS = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: ids 0 to 255 are bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [*_NAMED_TOKENS.values(), *(f"<|reserved_{number}|>" for number in range(VOCABULARY - 258))]
    bytes_only = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=bytes_only, clean_up_tokenization_spaces=False, **_NAMED_TOKENS)
