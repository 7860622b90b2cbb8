"""Writes small decoders with the exporter's graphs, as folders that the server loads."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.graph.plan import DecoderPlan
from onward_server.export.tensors import ArrayTensor
from onward_server.model.exporting.precision import Precision
from testing.tiny_model import write_tiny_tokenizer
from tests.decoder_cases import DECODERS, random_decoder_weights

VOCABULARY_SIZE = 512
_PEAKEDNESS = np.float32(3)
"""Scales the logits, so that some tokens are much likelier than others, as in a trained model."""


def servable(name: str) -> DecoderConfig:
    """The decoder case of a name with the tokenizer's vocabulary."""
    return replace(DECODERS[name], vocab_size=VOCABULARY_SIZE, max_positions=256)


def write_decoder_folder(folder: Path, name: str, precision: Precision) -> Path:
    """Writes the decoder case of a name, with weights that depend on the name, and returns the folder."""
    config = servable(name)
    weights = random_decoder_weights(config, seed=len(name))
    weights["final_norm.weight"] *= _PEAKEDNESS
    tensors = {tensor: ArrayTensor(weight) for tensor, weight in weights.items()}
    DecoderPlan.of(config, tensors, precision).write(folder)
    description = {"max_position_embeddings": config.max_positions, "vocab_size": config.vocab_size}
    (folder / "config.json").write_text(json.dumps(description))
    write_tiny_tokenizer(folder)
    return folder
