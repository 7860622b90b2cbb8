"""onnxruntime-genai 0.18 runs exports of checkpoints, and gives the tokens that the engine gives."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from onward_server.model.exporting.precision import Precision
from onward_server.model.source.folder import ModelFolder
from tests.exports.checkpoints import Checkpoint, committed_checkpoints
from tests.exports.decoding import ALL_AT_ONCE, NUM_TOKENS, ids_of, load, tokens_of
from tests.waiting import WAIT_S

CHECKPOINTS = committed_checkpoints()
IN_INT4 = {"llama", "qwen3", "gemma2", "gemma3", "phi3"}
PYTHON = Path(__file__).parents[2] / ".venv-genai/bin/python"
"""`make test-models` creates it."""
WORKER = Path(__file__).with_name("genai_greedy.py")


def genai_tokens(folder: Path, prompts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The tokens of onnxruntime-genai after each prompt."""
    jobs = "".join(f"{json.dumps(list(prompt))}\n" for prompt in prompts)
    command = [PYTHON, WORKER, folder, str(NUM_TOKENS)]
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
    checkpoint: Checkpoint, precision: Precision, tmp_path: Path
) -> None:
    folder = checkpoint.export(tmp_path, precision)
    expected = ids_of(tokens_of(load(folder).causal_lm, checkpoint.prompts, budget=ALL_AT_ONCE))

    ends = ModelFolder.read(folder).eos_token_ids
    assert genai_tokens(folder, checkpoint.prompts) == [up_to_end(tokens, ends) for tokens in expected]


def up_to_end(tokens: tuple[int, ...], ends: frozenset[int]) -> tuple[int, ...]:
    """The tokens up to an end of sequence; the engine was not told to stop there."""
    length = next((index + 1 for index, token_id in enumerate(tokens) if token_id in ends), len(tokens))
    return tokens[:length]


def test_the_families_in_int4_are_committed() -> None:
    assert {checkpoint.name for checkpoint in CHECKPOINTS} >= IN_INT4
