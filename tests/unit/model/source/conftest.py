"""A model folder for tests of its files."""

from pathlib import Path

import onnx
import pytest
from onnx import external_data_helper

from testing.tiny_model import write_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model folder whose weights lie beside the model."""
    path = write_tiny_model(tmp_path / "tiny")
    model = onnx.ModelProto.FromString((path / "model.onnx").read_bytes())
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=64)
    external_data_helper.write_external_data_tensors(model, str(path))
    (path / "model.onnx").write_bytes(model.SerializeToString())
    return path
