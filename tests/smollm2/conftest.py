"""Exports of the GGUF file that `--gguf` names, each made once by the command that users run."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.greedy_cases import GreedyCase, read_cases
from tests.model_serving import Serve, serving_folder

OUR_REFERENCE = Path(__file__).parents[1] / "data/smollm2/greedy.json"

Exported = Callable[[str], Path]
"""Gives the folder of the export in a precision."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gguf", default="", help="SmolLM2-135M-Instruct.Q4_1.gguf, which `make test-models` downloads")
    parser.addoption("--reference", default=str(OUR_REFERENCE), help="prompts with their greedy completions, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if not Path(str(config.getoption("gguf"))).is_file():
        raise pytest.UsageError("run `make test-models`, which downloads the model")


@pytest.fixture(scope="session")
def cases(pytestconfig: pytest.Config) -> list[GreedyCase]:
    """The cases of the reference."""
    return read_cases(Path(str(pytestconfig.getoption("reference"))))


@pytest.fixture(scope="session")
def exported(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Exports the file in a precision, when a test first asks for it."""
    folder = tmp_path_factory.mktemp("smollm2")

    @cache
    def export(precision: str) -> Path:
        command = [sys.executable, "-m", "onward_server", "export", str(pytestconfig.getoption("gguf"))]
        subprocess.run([*command, str(folder / precision), "--precision", precision], check=True)
        return folder / precision

    return export


@pytest.fixture
def serve() -> Serve:
    """Starts a server for a model folder, with any settings, for the length of an `async with` block."""
    return serving_folder
