"""A sample of `tests/exports/test_checkpoints.py`, which is a group of its own."""

from pathlib import Path

import pytest

from tests.exports.checkpoints import committed_checkpoints
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, ids_of, load, tokens_of

SAMPLE = {checkpoint.name: checkpoint for checkpoint in committed_checkpoints()}


@pytest.mark.parametrize("name", ["mistral", "gemma3", "gpt2"])
def test_an_fp32_export_gives_the_tokens_of_transformers(name: str, tmp_path: Path) -> None:
    checkpoint = SAMPLE[name]
    model = load(checkpoint.export(tmp_path, "fp32")).causal_lm
    together = tokens_of(model, checkpoint.prompts, budget=IN_CHUNKS)
    assert ids_of(together) == list(checkpoint.outputs)
    assert tokens_of(model, checkpoint.prompts[3:4], budget=ALL_AT_ONCE) == together[3:4]
