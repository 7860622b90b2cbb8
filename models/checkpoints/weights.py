"""Writes a checkpoint: random weights of few bits in every parameter, with a tokenizer of bytes."""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from models.checkpoints.architectures import END_OF_SEQUENCE, Checkpoint
from models.public_exports.checkpoints import random_values, tokenizer


def write_checkpoint(name: str, checkpoint: Checkpoint, folder: Path) -> None:
    """Writes config.json, the safetensors files and the tokenizer's files."""
    model = random_model(name, checkpoint)
    model.to(getattr(torch, checkpoint.dtype)).save_pretrained(folder, max_shard_size=checkpoint.shards_of)
    tokenizer().save_pretrained(folder)
    file = folder / "config.json"
    config = checkpoint.rewrite_config(json.loads(file.read_text()))
    file.write_text(json.dumps(config, indent=2) + "\n")


def random_model(name: str, checkpoint: Checkpoint) -> PreTrainedModel:
    """A model in which no weight, bias or norm keeps its initial value. The name seeds the values."""
    config = AutoConfig.for_model(
        checkpoint.model_type, **checkpoint.configuration, bos_token_id=256, eos_token_id=END_OF_SEQUENCE
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    model.generation_config.eos_token_id = END_OF_SEQUENCE
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            values = random_values(name, parameter_name, parameter.shape, tied=config.tie_word_embeddings)
            parameter.copy_(torch.from_numpy(values))
    return model
