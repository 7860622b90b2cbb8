from pathlib import Path

import pytest
from tokenizers import Tokenizer

from testing.other_exporters.decoder_graph import Layout
from testing.tiny_model import CONTROL_TOKENS, TINY, write_tiny_model
from tests.naive_decoder import NaiveDecoder

PROMPTS = ([5, 6, 7], [300, 20, 411, 90], [1])


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_greedy_tokens_vary_within_and_between_prompts(tmp_path: Path, layout: Layout) -> None:
    decoder = NaiveDecoder(write_tiny_model(tmp_path, layout=layout) / "model.onnx")
    outputs = [decoder.greedy(prompt, 60) for prompt in PROMPTS]
    assert all(len(set(output)) > 30 for output in outputs)
    assert len({tuple(output[:8]) for output in outputs}) == len(PROMPTS)


def test_both_layouts_give_the_same_tokens(tmp_path: Path) -> None:
    slots, growing = (
        NaiveDecoder(write_tiny_model(tmp_path / layout, layout=layout) / "model.onnx").greedy([5, 6, 7], 60)
        for layout in ("slots", "growing")
    )
    assert slots == growing


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_tiny_model(tmp_path / name, bits=4) for name in ("first", "second"))
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    outputs = {
        tuple(NaiveDecoder(write_tiny_model(tmp_path / str(seed), seed=seed) / "model.onnx").greedy([5], 8))
        for seed in range(3)
    }
    assert len(outputs) == 3


def test_the_tokenizer_fills_the_vocabulary_and_loses_no_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(write_tiny_model(tmp_path) / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == TINY.vocab_size
    assert [tokenizer.token_to_id(token) for token in CONTROL_TOKENS] == [0, 1, 2]
    text = " The ferry, café\n日本語 🦊"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
