import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testing.other_exporters.decoder_graph import build_decoder
from testing.other_exporters.model_folder import SpecialTokens, write_decoder
from testing.other_exporters.random_weights import random_weights
from testing.tiny_model import TINY
from tests.naive_decoder import NaiveDecoder

TOKENS = SpecialTokens(bos=1, eos=(2, 0))


def test_external_data_gives_the_same_model(tmp_path: Path) -> None:
    prompt = np.arange(6)[None]
    logits: dict[bool, NDArray[np.float32]] = {}
    for external in (False, True):
        directory = tmp_path / str(external)
        model = build_decoder(TINY, random_weights(TINY, seed=0))
        write_decoder(directory, TINY, model, tokens=TOKENS, external_data=external)
        assert (directory / "model.onnx.data").is_file() is external
        logits[external], _ = NaiveDecoder(directory / "model.onnx").forward(prompt)
    np.testing.assert_array_equal(logits[True], logits[False])


def test_writing_over_a_folder_leaves_no_stale_weights(tmp_path: Path) -> None:
    for external in (True, False):
        model = build_decoder(TINY, random_weights(TINY, seed=0))
        write_decoder(tmp_path, TINY, model, tokens=TOKENS, external_data=external)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "genai_config.json",
        "generation_config.json",
        "model.onnx",
    ]


def test_every_end_token_is_in_every_file(tmp_path: Path) -> None:
    write_decoder(tmp_path, TINY, build_decoder(TINY, random_weights(TINY, seed=0)), tokens=TOKENS)
    config, generation, genai = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("config", "generation_config", "genai_config")
    )
    assert [ids["eos_token_id"] for ids in (config, generation, genai["model"])] == [[2, 0]] * 3
    assert config["bos_token_id"] == 1


def test_genai_is_told_of_positions_and_growing_caches(tmp_path: Path) -> None:
    seen: dict[str, tuple[bool, bool]] = {}
    for layout in ("slots", "growing"):
        model = build_decoder(TINY, random_weights(TINY, seed=0), layout=layout)
        write_decoder(tmp_path / layout, TINY, model, tokens=TOKENS)
        genai = json.loads((tmp_path / layout / "genai_config.json").read_text())
        seen[layout] = (
            "position_ids" in genai["model"]["decoder"]["inputs"],
            genai["search"]["past_present_share_buffer"],
        )
    assert seen == {"slots": (False, True), "growing": (True, False)}
