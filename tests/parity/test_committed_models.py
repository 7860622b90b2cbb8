"""A sample of `tests/exports/test_committed_models.py`, which is a group of its own."""

from pathlib import Path

import pytest

from tests.exports.committed_models import committed_checkpoints, committed_gguf_files
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, ids_of, load, tokens_of

MODELS = {model.name: model for model in (*committed_checkpoints(), *committed_gguf_files())}


@pytest.mark.parametrize("name", ["mistral", "gemma3", "gpt2", "llama-q4-k-m", "gemma2-q4-1", "phi3-q8-0"])
def test_an_fp32_export_gives_the_tokens_of_transformers(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    causal_lm = load(model.export(tmp_path, "fp32")).causal_lm
    together = tokens_of(causal_lm, model.prompts, budget=IN_CHUNKS)
    assert ids_of(together) == list(model.outputs)
    assert tokens_of(causal_lm, model.prompts[3:4], budget=ALL_AT_ONCE) == together[3:4]
