"""The memory of an export does not depend on the size of its tensors."""

import os
import subprocess
from pathlib import Path

import pytest

from onward_server.model.exporting.precision import PRECISIONS, Precision
from testing.random_checkpoint import llama_config, write_llama_checkpoint
from tests.command import COMMAND

SMALL_ROWS, LARGE_ROWS = 1_024, 65_536
WIDTH = 1_024
LARGEST_BYTES = 2 * LARGE_ROWS * WIDTH
"""Size of the largest tensor in the file, in bfloat16; as floats, it would take twice as much."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Checkpoints by the number of rows of their table of embeddings."""
    folders: dict[int, Path] = {}
    for rows in (SMALL_ROWS, LARGE_ROWS):
        folders[rows] = tmp_path_factory.mktemp("checkpoints") / "tiny"
        config = llama_config(vocab=rows, hidden=WIDTH, inner=64, layers=1, heads=(16, 4), tied=True)
        write_llama_checkpoint(folders[rows], config)
    return folders


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_large_tensor_is_never_whole_in_memory(
    checkpoints: dict[int, Path], precision: Precision, tmp_path: Path
) -> None:
    small, large = (peak_bytes(checkpoints[rows], tmp_path / str(rows), precision) for rows in (SMALL_ROWS, LARGE_ROWS))

    assert large - small < LARGEST_BYTES


def peak_bytes(source: Path, output: Path, precision: Precision) -> int:
    """The peak of the resident memory of a process that exports a checkpoint."""
    words = [*COMMAND, "export", str(source), str(output), "--precision", precision]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024
