"""Exports a Llama of 28 million random weights with Optimum, for decomposed.py. It runs in an environment of its own.

pip install optimum-onnx==0.1.0 transformers==4.57.6 torch
python benchmarks/optimum_llama.py OUTPUT
python -m benchmarks.decomposed OUTPUT --baseline ONWARD    adds the small tokenizer of the tests
"""

import os
import sys
import tempfile
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before Optimum loads ONNX Runtime

import optimum.exporters.onnx  # pyright: ignore[reportMissingImports]
import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]

SHAPE = {
    "vocab_size": 32000,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 10,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def main(output: str) -> None:
    """Writes the export."""
    libraries: Any = torch, transformers, optimum  # which have no types here
    pytorch, models, exporters = libraries
    pytorch.manual_seed(0)
    model = models.LlamaForCausalLM(models.LlamaConfig(**SHAPE))
    with tempfile.TemporaryDirectory() as checkpoint:
        model.save_pretrained(checkpoint)
        exporters.exporters.onnx.main_export(checkpoint, output, task="text-generation-with-past", do_validation=False)


if __name__ == "__main__":
    main(sys.argv[1])
