"""The log says which graph is served and how, and how to serve another one."""

import logging
import shutil
from pathlib import Path

import onnx
import pytest

from onward_server.served_model import load_models
from onward_server.settings.server import Settings
from testing.dynamic_int8 import quantize_dynamically
from testing.tiny_model import write_tiny_model


def logged(caplog: pytest.LogCaptureFixture, model: str) -> list[str]:
    with caplog.at_level(logging.INFO, "onward_server.load_report"):
        load_models(Settings.model_validate({"model": (model,), "slots": 2}))
    messages = [record.getMessage() for record in caplog.records if record.name == "onward_server.load_report"]
    return [message for message in messages if message.startswith("model tiny: ")]


def test_the_graph_is_logged_with_the_reason_and_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    shutil.copy(write_tiny_model(tmp_path / "int4", bits=4) / "model.onnx", folder / "model_q4.onnx")

    served, others = logged(caplog, str(folder))

    assert served.startswith(
        f"model tiny: serving {folder}/model.onnx (named by genai_config.json), fp32, 0.6 MiB, layout slots: "
        "sequences share runs, as exported"
    )
    assert others == (
        f"model tiny: --model {folder}:VARIANT or --model-file PATH chooses another graph: model_q4.onnx (0.1 MiB)"
    )


def test_a_model_whose_runs_are_isolated_is_said_to_run_one_sequence_at_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").write_bytes(quantize_dynamically(model).SerializeToString())

    (served,) = logged(caplog, str(folder))

    assert "layout slots: one sequence a run, as exported" in served


def test_a_variant_is_logged_with_its_own_precision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    shutil.copy(write_tiny_model(tmp_path / "int4", bits=4) / "model.onnx", folder / "model_q4.onnx")

    assert logged(caplog, f"{folder}:q4")[0].startswith(
        f"model tiny: serving {folder}/model_q4.onnx (the q4 variant), int4, "
    )


def test_a_file_is_logged_with_the_graphs_beside_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    shutil.copy(folder / "model.onnx", folder / "model_q4.onnx")

    served, others = logged(caplog, f"{folder}/model_q4.onnx")

    assert served.startswith(f"model tiny: serving {folder}/model_q4.onnx (named by --model), fp32, ")
    assert others == f"model tiny: --model {folder}/FILE chooses another graph: model.onnx (0.6 MiB)"
