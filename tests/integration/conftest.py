"""A real server in process, on a free port, over small real models."""

from pathlib import Path

import pytest

from testing.tiny_model import write_tiny_model
from tests.model_serving import Serve, serving_folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight decoder on the slots layout, with a ChatML template."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def serve() -> Serve:
    """Starts a server for a model folder, with any settings, for the length of an `async with` block."""
    return serving_folder
