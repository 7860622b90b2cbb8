import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.exporter import export_model, export_source
from onward_server.model.exporting.precision import PRECISIONS, Precision
from onward_server.model.source.folder import ModelFolder
from onward_server.version import VERSION
from tests.decoder_cases import LLAMA
from tests.fake_exports import SOURCE, FakeSource, RecordedProgress
from tests.waiting import WAIT_S


def export(output: Path, source: FakeSource | None = None, precision: Precision = "fp32") -> RecordedProgress:
    progress = RecordedProgress()
    export_source(source or FakeSource(), SOURCE, output, precision, progress)
    return progress


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_exported_folder_can_be_read_as_a_model(tmp_path: Path, precision: Precision) -> None:
    export(tmp_path / "new", precision=precision)

    folder = ModelFolder.read(tmp_path / "new")
    assert folder.context_length == LLAMA.max_positions
    assert folder.eos_token_ids == {0, 2}
    assert sorted(contents(tmp_path / "new")) == [
        "config.json",
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_exports_of_one_source_are_equal_byte_for_byte(tmp_path: Path, precision: Precision) -> None:
    for name in ("one", "two"):
        export(tmp_path / name, precision=precision)

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_size_of_all_files_is_returned(tmp_path: Path) -> None:
    num_bytes = export_source(FakeSource(), SOURCE, tmp_path / "new", "int4", RecordedProgress())

    assert num_bytes == sum(map(len, contents(tmp_path / "new").values()))


def test_the_graph_names_its_source_its_precision_and_the_version(tmp_path: Path) -> None:
    export(tmp_path / "new", precision="int8")

    model = onnx.ModelProto.FromString((tmp_path / "new/model.onnx").read_bytes())
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "onward.source": "llama.gguf",
        "onward.precision": "int8",
        "onward.version": VERSION,
    }


def test_a_source_in_the_cache_of_the_hub_is_named_with_its_commit(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--tiny/snapshots/0c3f0b1"
    export_source(FakeSource(), snapshot, tmp_path / "new", "fp32", RecordedProgress())

    model = onnx.ModelProto.FromString((tmp_path / "new/model.onnx").read_bytes())
    assert model.metadata_props[0].value == "models--owner--tiny@0c3f0b1"


def test_a_name_that_is_not_utf_8_is_written_with_replacements(tmp_path: Path) -> None:
    export_source(FakeSource(), Path(os.fsdecode(b"gr\xfc\xdfe.gguf")), tmp_path / "new", "fp32", RecordedProgress())

    model = onnx.ModelProto.FromString((tmp_path / "new/model.onnx").read_bytes())
    assert model.metadata_props[0].value == "gr\ufffd\ufffde.gguf"


def test_progress_counts_the_bytes_that_it_announced(tmp_path: Path) -> None:
    progress = export(tmp_path / "new")

    assert progress.total == sum(progress.reports) > 0
    assert progress.notes == []


def test_an_export_that_is_killed_leaves_nothing_that_looks_whole_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    num_reports = len(export(tmp_path / "whole").reports)
    moments = (1, num_reports // 2, num_reports)
    processes = {
        moment: subprocess.Popen(
            [sys.executable, "-m", "tests.fake_exports", str(tmp_path / f"{moment}/new"), str(moment)]
        )
        for moment in moments
    }
    for moment, process in processes.items():
        assert process.wait(WAIT_S) == -signal.SIGKILL
        folder = tmp_path / str(moment)
        assert [path.name[0] for path in folder.iterdir()] == ["."]
        with pytest.raises(ModelFolderError, match=r"has no model; "):
            ModelFolder.read(folder)

        export(folder / "new")

        assert [path.name for path in folder.iterdir()] == ["new"]
        assert contents(folder / "new") == contents(tmp_path / "whole")


def test_a_tokenizer_that_cannot_be_used_is_named_before_weights_are_written(tmp_path: Path) -> None:
    source = FakeSource(descriptions={"config.json": "{}", "tokenizer.json": '{"model": 1}'})

    with pytest.raises(ExportError, match=r"^models/llama\.gguf/tokenizer\.json cannot be used as a tokenizer: "):
        export(tmp_path / "new", source)

    assert contents(tmp_path) == {}


def test_a_generation_config_that_the_server_rejects_is_named_before_weights_are_written(tmp_path: Path) -> None:
    source = FakeSource(descriptions={"config.json": "{}", "generation_config.json": '{"temperature": "warm"}'})

    with pytest.raises(ExportError, match=r"^models/llama\.gguf: generation_config\.json has temperature = 'warm'"):
        export(tmp_path / "new", source)

    assert contents(tmp_path) == {}


def test_a_source_without_a_tokenizer_is_named_before_weights_are_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^models/llama\.gguf has no tokenizer\.json; copy it from the repository"):
        export(tmp_path / "new", FakeSource(has_tokenizer=False))

    assert contents(tmp_path) == {}


def test_a_disk_without_room_for_the_weights_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1 << 20)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    with pytest.raises(ExportError, match=r"the export takes 6\d\.\d MiB, but the disk of .*/new has 1\.0 MiB left"):
        export(tmp_path / "new")

    assert contents(tmp_path) == {}


def test_an_output_inside_the_source_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)

    with pytest.raises(ExportError, match=r"link/onnx is in .*, which would be exported into itself; name a folder"):
        export_model(tmp_path, tmp_path / "link/onnx", "fp32", RecordedProgress())


def test_onnxruntime_genai_is_told_the_shape_the_ids_and_the_sampling_defaults(tmp_path: Path) -> None:
    generation = {"eos_token_id": 2, "pad_token_id": 0, "do_sample": True, "temperature": 0.6, "max_new_tokens": 9}
    config = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": None}
    descriptions = {"config.json": json.dumps(config), "generation_config.json": json.dumps(generation)}
    export(tmp_path / "new", FakeSource(descriptions=descriptions))

    assert json.loads((tmp_path / "new/genai_config.json").read_text()) == {
        "model": {
            "type": "llama",
            "context_length": 64,
            "vocab_size": 512,
            "bos_token_id": 1,
            "eos_token_id": [0, 2],
            "pad_token_id": 0,
            "decoder": {
                "session_options": {},
                "filename": "model.onnx",
                "head_size": 16,
                "hidden_size": 64,
                "num_attention_heads": 4,
                "num_hidden_layers": 2,
                "num_key_value_heads": 2,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {"do_sample": True, "temperature": 0.6, "max_length": 64, "past_present_share_buffer": True},
    }


def test_a_family_that_onnxruntime_genai_does_not_know_is_a_decoder(tmp_path: Path) -> None:
    config = replace(LLAMA, vocab_size=512, model_type="olmo2")
    export(tmp_path / "new", FakeSource(config=config))

    written = json.loads((tmp_path / "new/genai_config.json").read_text())
    assert written["model"]["type"] == "decoder"
