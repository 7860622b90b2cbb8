"""The folder of third-party data that `--data` names; without all that the tests read, none of them runs."""

from pathlib import Path

import pytest

from tests.model_serving import Serve, serving_folder

_NEEDED = {
    "templates": ("renderings.json", "*.jinja"),
    "tool-calls": ("parse-cases.json",),
    "jsonschema": ("JSON-Schema-Test-Suite.tar.gz",),
    "tok-mistral-v3": ("mistral_instruct_tokenizer_240323.model.v3", "samples/*/tokens_v3.json"),
    "smollm2": ("greedy.json",),
    "tok-smollm2": ("tokenizer.json",),
    "stories260K": (
        "golden_greedy.txt",
        "onnx/model.onnx",
        "onnx/config.json",
        "onnx/tokenizer.json",
        "checkpoint/tokenizer.json",
    ),
    "nano-gpt-sort": ("gpt-nano-sort-model.json", "gpt-nano-sort-t0-partials.json"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data", default="", help="folder of third-party data, laid out as CONTRIBUTING.md describes")


def pytest_configure(config: pytest.Config) -> None:
    """Ends the run with a message where data is missing, so that no test is skipped for it."""
    option = str(config.getoption("data"))
    layout = "CONTRIBUTING.md lists what it holds and where to get it"
    if not option:
        raise pytest.UsageError(f"run `make test-public DATA=folder`, with a folder of third-party data; {layout}")
    missing = _missing(Path(option))
    if missing:
        raise pytest.UsageError(f"DATA={option}: the folder lacks {', '.join(missing)}; {layout}")


def _missing(folder: Path) -> list[str]:
    return [
        f"{name}/{pattern}"
        for name, patterns in _NEEDED.items()
        for pattern in patterns
        if not any((folder / name).glob(pattern))
    ]


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Path:
    """The folder of third-party data."""
    return Path(str(pytestconfig.getoption("data")))


@pytest.fixture
def serve() -> Serve:
    """Starts a server for a model folder, with any settings, for the length of an `async with` block."""
    return serving_folder
