"""Exports of GGUF files give the tokens of their dequantized weights, alone and together."""

from pathlib import Path

import pytest

from onward_server.model.exporting.precision import Precision
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, NUM_TOKENS, ids_of, load, tokens_of
from tests.exports.gguf_files import DATA, CommittedGguf, committed_gguf_files
from tests.exports.naive_loops import checked_tokens
from tests.naive_decoder import NaiveDecoder

FILES = committed_gguf_files()
MARGIN = 0.008
"""In parts of the range of the logits. Products of one row may round in another way than those of several."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_fp32_export_gives_the_tokens_of_the_dequantized_weights(file: CommittedGguf, tmp_path: Path) -> None:
    loaded = load(file.export(tmp_path, "fp32"))
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in file.prompts]
    assert ids_of(alone) == list(file.outputs)
    assert tokens_of(loaded.causal_lm, file.prompts, budget=IN_CHUNKS) == alone


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_export_of_its_blocks_gives_the_tokens_of_a_naive_loop_over_itself(
    file: CommittedGguf, precision: Precision, tmp_path: Path
) -> None:
    folder = file.export(tmp_path, precision)
    loaded = load(folder)
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in file.prompts]
    assert tokens_of(loaded.causal_lm, file.prompts, budget=IN_CHUNKS) == alone
    naive = NaiveDecoder(folder / "model.onnx")
    compared = [
        checked_tokens(naive, prompt, ids, MARGIN) for prompt, ids in zip(file.prompts, ids_of(alone), strict=True)
    ]
    assert sum(compared) >= len(compared) * NUM_TOKENS // 2


def test_every_architecture_that_can_be_exported_has_a_file() -> None:
    assert {file.architecture for file in FILES} == {
        "arcee",
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3",
        "gpt2",
        "granite",
        "llama",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "starcoder2",
    }


def test_a_reference_has_eight_prompts_and_forty_tokens_after_each() -> None:
    for file in FILES:
        assert len(file.prompts) == 8, file.name
        assert all(len(output) == NUM_TOKENS for output in file.outputs), file.name
        assert len({token_id for output in file.outputs for token_id in output}) > 15, file.name


def test_the_archives_stay_small() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 800 << 10
