"""Writes model folders with random weights in the shape of SmolLM2-135M. Speed depends on shapes, not on values.

    python -m benchmarks.smollm2_shape OUTPUT    writes OUTPUT/fp32 and OUTPUT/int4 (0.7 GB)

The tokenizer is the small one of the tests, so the output is not readable. onward and onnxruntime-genai load the same
folders.
"""

import argparse
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


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    for name, formats in FORMATS.items():
        write_folder(output / name, formats)
        size = sum(file.stat().st_size for file in (output / name).iterdir())
        print(f"{output / name}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
