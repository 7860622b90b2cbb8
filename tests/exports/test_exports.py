"""Exports of public tools give exactly the tokens of their reference, alone and together."""

import re
from pathlib import Path

import pytest

from tests.exports.committed import DATA, Export, committed_exports
from tests.exports.decoding import ALL_AT_ONCE, IN_CHUNKS, NUM_TOKENS, ids_of, load, tokens_of

EXPORTS = committed_exports()
GROWING = {
    *(export.name for export in EXPORTS if export.variant in ("js-int8", "js-uint8", "js-quantized")),
    "gptj-js-q4f16",
}
"""Exports whose rows do not share a run: it would quantize them with one scale, or the graph cannot be rewritten.

Rewritten exports that compute in 16 bits may round more differently than allowed, so they may be growing, too.
"""
KINDS = {"optimum-fp32", "builder-fp32", "builder-int4", "js-q4", "js-q4f16", "js-fp16", "js-int8"}


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_an_export_gives_its_reference_alone_and_in_a_crowd(export: Export, tmp_path: Path) -> None:
    loaded = load(export.extract(tmp_path))
    if loaded.layout == "growing" and "16" in export.variant and export.name not in GROWING:
        assert re.search("as exported, because a logit after .* differs by .* is allowed", loaded.origin)
    else:
        assert loaded.layout == ("growing" if export.name in GROWING else "slots"), loaded.origin
    assert loaded.deterministic
    alone = [tokens_of(loaded.causal_lm, [prompt], budget=ALL_AT_ONCE)[0] for prompt in export.prompts]
    assert ids_of(alone) == list(export.outputs)
    assert tokens_of(loaded.causal_lm, export.prompts, budget=IN_CHUNKS) == alone


def test_nine_of_ten_exports_of_optimum_share_slots() -> None:
    from_optimum = {export.name for export in EXPORTS if export.variant.startswith("optimum")}
    assert len(from_optimum - GROWING) >= 0.9 * len(from_optimum)


def test_twelve_architectures_have_every_kind_of_export() -> None:
    variants = {
        architecture: {export.variant for export in EXPORTS if export.architecture == architecture}
        for architecture in {export.architecture for export in EXPORTS}
    }
    assert sum(found >= KINDS for found in variants.values()) >= 12


def test_a_reference_has_eight_prompts_and_forty_tokens_after_each() -> None:
    for export in EXPORTS:
        assert len(export.prompts) == 8, export.name
        assert all(len(output) == NUM_TOKENS for output in export.outputs), export.name
        assert len({token_id for output in export.outputs for token_id in output}) > 20, export.name


@pytest.mark.parametrize(("architecture", "length"), [("long-rope", 64), ("phi-3-128k", 4096), ("phi-4-mini", 4096)])
def test_the_context_ends_where_the_factors_of_long_rope_change(architecture: str, length: int, tmp_path: Path) -> None:
    exports = [export for export in EXPORTS if export.architecture == architecture]
    assert {export.variant for export in exports} >= {"optimum-fp32", "builder-fp32"}
    for export in exports:
        assert load(export.extract(tmp_path)).causal_lm.context_length == length, export.name


def test_the_archives_stay_small() -> None:
    sizes = [file.stat().st_size for file in DATA.iterdir()]
    assert max(sizes) < 1 << 20
    assert sum(sizes) < 10 << 20
