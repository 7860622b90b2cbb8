"""onnxruntime-genai 0.18 runs exports of checkpoints, and gives the tokens that the engine gives."""

import json
import re
import subprocess
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from onward_server.export.exporter import export_model
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.progress import ExportLines
from onward_server.model.source.folder import ModelFolder
from tests.exports.committed_models import CommittedModel, committed_checkpoints
from tests.exports.decoding import ALL_AT_ONCE, NUM_TOKENS, ids_of, load, tokens_of
from tests.naive_decoder import NaiveDecoder
from tests.waiting import WAIT_S

CHECKPOINTS = [checkpoint for checkpoint in committed_checkpoints() if checkpoint.name != "phi3-longrope"]
"""Without the one that switches at 64 tokens: onnxruntime-genai computes sequences again at 4,096 tokens alone."""
IN_INT4 = {"llama", "qwen3", "gemma2", "gemma3", "phi3"}
PYTHON = Path(__file__).parents[2] / ".venv-genai/bin/python"
"""`make test-models` creates it."""
WORKER = Path(__file__).with_name("genai_greedy.py")


def genai_tokens(folder: Path, prompts: Sequence[Sequence[int]], num_tokens: int = NUM_TOKENS) -> list[tuple[int, ...]]:
    """The tokens of onnxruntime-genai after each prompt."""
    jobs = "".join(f"{json.dumps(list(prompt))}\n" for prompt in prompts)
    command = [PYTHON, WORKER, folder, str(num_tokens)]
    done = subprocess.run(command, input=jobs, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("checkpoint", "precision"),
    [
        *((checkpoint, "fp32") for checkpoint in CHECKPOINTS),
        *((checkpoint, "int4") for checkpoint in CHECKPOINTS if checkpoint.name in IN_INT4),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_onnxruntime_genai_gives_the_tokens_of_the_engine_up_to_the_end(
    checkpoint: CommittedModel, precision: Precision, tmp_path: Path
) -> None:
    folder = checkpoint.export(tmp_path, precision)
    expected = ids_of(tokens_of(load(folder).causal_lm, checkpoint.prompts, budget=ALL_AT_ONCE))

    ends = ModelFolder.read(folder).eos_token_ids
    assert genai_tokens(folder, checkpoint.prompts) == [up_to_end(tokens, ends) for tokens in expected]


def up_to_end(tokens: tuple[int, ...], ends: frozenset[int]) -> tuple[int, ...]:
    """The tokens up to an end of sequence; the engine was not told to stop there."""
    length = next((index + 1 for index, token_id in enumerate(tokens) if token_id in ends), len(tokens))
    return tokens[:length]


def test_onnxruntime_genai_computes_a_sequence_again_where_longrope_switches(tmp_path: Path) -> None:
    (checkpoint,) = (checkpoint for checkpoint in CHECKPOINTS if checkpoint.name == "phi4-mini")
    source = checkpoint.extract(tmp_path)
    text = (source / "config.json").read_text()
    config = json.loads(re.sub(r'("original_max_position_embeddings"): \d+', r"\1: 4096", text))
    (source / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
    export_model(source, tmp_path / "export", "fp32", ExportLines(lambda _: None))

    tokens = list(islice(cycle(checkpoint.prompts[-1]), 4093))
    naive = NaiveDecoder(tmp_path / "export/model.onnx")
    expected: list[int] = []
    for _ in range(8):
        logits = naive.forward(np.array([[*tokens, *expected]], np.int64))[0]
        expected.append(int(logits[0, -1].argmax()))
    assert genai_tokens(tmp_path / "export", [tokens], num_tokens=8) == [tuple(expected)]


def test_the_families_in_int4_are_committed() -> None:
    assert {checkpoint.name for checkpoint in CHECKPOINTS} >= IN_INT4
