"""Writes decomposed model folders with random weights in the shape of SmolLM2-135M, and with the tests' tokenizer."""

from pathlib import Path

from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.decoder_graph import Layout, build_decoder
from testing.other_exporters.model_folder import SpecialTokens, write_decoder
from testing.other_exporters.random_weights import random_weights
from testing.other_exporters.weights import WeightFormats
from testing.tiny_model import write_tiny_tokenizer

SMOLLM2_135M = DecoderConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    max_positions=8192,
    rope_theta=100_000.0,
)

FORMATS = {"fp32": WeightFormats(), "int4": WeightFormats(layers="int4", embeddings="int4")}


def write_folder(directory: Path, formats: WeightFormats, *, layout: Layout = "slots") -> None:
    """Writes a model and its tokenizer, unless the folder exists already."""
    if (directory / "tokenizer.json").is_file():
        return
    weights = random_weights(SMOLLM2_135M, seed=0)
    model = build_decoder(SMOLLM2_135M, weights, layout=layout, formats=formats)
    write_decoder(directory, SMOLLM2_135M, model, tokens=SpecialTokens(bos=1, eos=(2,)), external_data=True)
    write_tiny_tokenizer(directory)
