"""Exported decoders generate, alone and beside others, what a loop without caches over the same file generates."""

from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from onward_server.model.exporting.precision import PRECISIONS, Precision
from onward_server.model.slot_causal_lm import SlotCausalLM
from tests.crowds import load, neighbors, request, tokens_of
from tests.decoder_cases import DECODERS
from tests.exported_decoders import write_decoder_folder
from tests.naive_decoder import NaiveDecoder

CASES = [
    *(("llama", precision) for precision in PRECISIONS),
    *zip(list(DECODERS)[1:], cycle(PRECISIONS), strict=False),
]
LENGTHS = (1, 5, 40)
LONG_LENGTHS = (40,)
"""Prompts longer than the length up to which the short frequencies are used."""


@cache
def uncached(model: Path, prompt: tuple[int, ...], num_tokens: int) -> list[int]:
    decoder = NaiveDecoder(model)
    token_ids = list(prompt)
    for _ in range(num_tokens):
        logits, _ = decoder.forward(np.array([token_ids]))
        token_ids.append(int(logits[0, -1].argmax()))
    return token_ids[len(prompt) :]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_an_export_generates_what_the_uncached_loop_does(tmp_path: Path, name: str, precision: Precision) -> None:
    loaded = load(write_decoder_folder(tmp_path, name, precision))
    assert isinstance(loaded.causal_lm, SlotCausalLM)
    assert loaded.deterministic
    for length in LONG_LENGTHS if "long frequencies" in name else LENGTHS:
        wanted = request("prompt", length, temperature=0.0, penalties=False)
        alone = tokens_of(loaded.causal_lm, wanted)
        generated = [token_id for token_id, _ in alone]
        assert generated == uncached(tmp_path / "model.onnx", tuple(wanted.prompt_ids), len(alone)), length
        assert tokens_of(loaded.causal_lm, wanted, before=neighbors()[:3], budget=24) == alone
