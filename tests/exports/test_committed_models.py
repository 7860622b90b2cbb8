"""Exports of checkpoints and GGUF files give the tokens of transformers, or of a naive loop, alone and together."""

from pathlib import Path

import pytest

from onward_server.export.gguf_model.architectures import ARCHITECTURES
from onward_server.model.exporting.precision import Precision
from tests.exports.committed_models import DATA, CommittedModel, committed_checkpoints, committed_gguf_files
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, NUM_TOKENS, ids_of, load, tokens_of
from tests.exports.naive_loops import checked_tokens
from tests.naive_decoder import NaiveDecoder

CHECKPOINTS = committed_checkpoints()
GGUF_FILES = committed_gguf_files()
MODELS = [*CHECKPOINTS, *GGUF_FILES]
MARGINS: dict[Precision, float] = {"fp16": 0.004, "int8": 0.008, "int4": 0.008}
"""How far the largest logit must stand out, relative to the range of the logits.

Products of one row may round in another way than those of several: int8 and int4 quantize the row's activations in
another order, and float16 has 11 bits.
"""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_an_fp32_export_gives_the_tokens_of_transformers(model: CommittedModel, tmp_path: Path) -> None:
    loaded = load(model.export(tmp_path, "fp32"))
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in model.prompts]
    assert ids_of(alone) == list(model.outputs)
    assert tokens_of(loaded.causal_lm, model.prompts, budget=IN_CHUNKS) == alone


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        *((model, precision) for model in CHECKPOINTS for precision in MARGINS),
        *((model, precision) for model in GGUF_FILES for precision in MARGINS if precision != "fp16"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_smaller_export_gives_the_tokens_of_a_naive_loop_over_itself(
    model: CommittedModel, precision: Precision, tmp_path: Path
) -> None:
    folder = model.export(tmp_path, precision)
    loaded = load(folder)
    assert loaded.layout == "slots", loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in model.prompts]
    assert tokens_of(loaded.causal_lm, model.prompts, budget=IN_CHUNKS) == alone
    naive = NaiveDecoder(folder / "model.onnx")
    compared = [
        checked_tokens(naive, prompt, ids, MARGINS[precision])
        for prompt, ids in zip(model.prompts, ids_of(alone), strict=True)
    ]
    assert sum(compared) >= len(compared) * NUM_TOKENS // 2


def test_checkpoints_of_at_least_twelve_families_are_checked() -> None:
    assert len({model.family for model in CHECKPOINTS}) >= 12


def test_every_gguf_architecture_that_can_be_exported_has_a_file() -> None:
    assert {model.family for model in GGUF_FILES} == set(ARCHITECTURES)


def test_a_reference_has_eight_prompts_and_forty_tokens_after_each() -> None:
    for model in MODELS:
        assert len(model.prompts) == 8, model.name
        assert all(len(output) == NUM_TOKENS for output in model.outputs), model.name
        assert len({token_id for output in model.outputs for token_id in output}) > 15, model.name


@pytest.mark.parametrize(("folder", "max_kib"), [("checkpoints", 1200), ("gguf", 800)])
def test_the_archives_stay_small(folder: str, max_kib: int) -> None:
    sizes = [file.stat().st_size for file in (DATA / folder).iterdir()]
    assert 0 < sum(sizes) < max_kib << 10
