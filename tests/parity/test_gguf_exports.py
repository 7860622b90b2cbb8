"""A sample of `tests/exports/test_gguf_files.py`, which is a group of its own."""

from pathlib import Path

import pytest

from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, ids_of, load, tokens_of
from tests.exports.gguf_files import committed_gguf_files

SAMPLE = {file.name: file for file in committed_gguf_files()}


@pytest.mark.parametrize("name", ["llama-q4-k-m", "gemma2-q4-1", "phi3-q8-0"])
def test_an_fp32_export_gives_the_tokens_of_the_dequantized_weights(name: str, tmp_path: Path) -> None:
    file = SAMPLE[name]
    model = load(file.export(tmp_path, "fp32")).causal_lm
    together = tokens_of(model, file.prompts, budget=IN_CHUNKS)
    assert ids_of(together) == list(file.outputs)
    assert tokens_of(model, file.prompts[3:4], budget=ALL_AT_ONCE) == together[3:4]
