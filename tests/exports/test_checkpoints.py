"""Exports of checkpoints give the tokens of transformers, or of a naive loop over themselves, alone and together."""

from pathlib import Path

import pytest

from onward_server.model.exporting.precision import Precision
from tests.exports.checkpoints import DATA, Checkpoint, committed_checkpoints
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, NUM_TOKENS, ids_of, load, tokens_of
from tests.exports.naive_loops import checked_tokens
from tests.naive_decoder import NaiveDecoder

CHECKPOINTS = committed_checkpoints()
MARGINS: dict[Precision, float] = {"fp16": 0.004, "int8": 0.008, "int4": 0.008}
"""In parts of the range of the logits: how far the largest logit must stand out.

Products of one row may round in another way than those of several: int8 and int4 quantize the row's activations in
another order, and float16 has 11 bits.
"""


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_an_fp32_export_gives_the_tokens_of_transformers(checkpoint: Checkpoint, tmp_path: Path) -> None:
    loaded = load(checkpoint.export(tmp_path, "fp32"))
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in checkpoint.prompts]
    assert ids_of(alone) == list(checkpoint.outputs)
    assert tokens_of(loaded.causal_lm, checkpoint.prompts, budget=IN_CHUNKS) == alone


@pytest.mark.parametrize("precision", MARGINS)
@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.name)
def test_a_smaller_export_gives_the_tokens_of_a_naive_loop_over_itself(
    checkpoint: Checkpoint, precision: Precision, tmp_path: Path
) -> None:
    folder = checkpoint.export(tmp_path, precision)
    loaded = load(folder)
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in checkpoint.prompts]
    assert tokens_of(loaded.causal_lm, checkpoint.prompts, budget=IN_CHUNKS) == alone
    naive = NaiveDecoder(folder / "model.onnx")
    compared = [
        checked_tokens(naive, prompt, ids, MARGINS[precision])
        for prompt, ids in zip(checkpoint.prompts, ids_of(alone), strict=True)
    ]
    assert sum(compared) >= len(compared) * NUM_TOKENS // 2


def test_twelve_architectures_are_checked() -> None:
    assert len({checkpoint.model_type for checkpoint in CHECKPOINTS}) >= 12


def test_a_reference_has_eight_prompts_and_forty_tokens_after_each() -> None:
    for checkpoint in CHECKPOINTS:
        assert len(checkpoint.prompts) == 8, checkpoint.name
        assert all(len(output) == NUM_TOKENS for output in checkpoint.outputs), checkpoint.name
        assert len({token_id for output in checkpoint.outputs for token_id in output}) > 20, checkpoint.name


def test_the_archives_stay_small() -> None:
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 1.2 * (1 << 20)
