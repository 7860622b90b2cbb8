"""Exports are made once by another process, and kept while they are whole and their source is the same."""

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from onward_server.errors import ExportError
from onward_server.model.exporting import exporter, wanted_export
from onward_server.model.exporting.export_cache import ExportCache
from onward_server.model.exporting.exporter import Exporter
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.wanted_export import WantedExport
from onward_server.model.memory import Available
from onward_server.model.source.located_checkpoint import find_checkpoint
from onward_server.model.source.pull_progress import Advance
from onward_server.model.source.pulled import PulledCheckpoint
from onward_server.settings.model_reference import HubRepository
from tests.export_processes import CALLS

PROCESS = "tests.export_processes"
REPOSITORY = HubRepository(owner="owner", name="model")


class Shown:
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.on_note: Callable[[str], None] = self.notes.append
        self.steps: list[int] = []
        self.ends: list[str] = []

    def note(self, text: str) -> None:
        self.on_note(text)

    @contextmanager
    def weights(self, num_bytes: int) -> Generator[Advance]:
        self.steps.append(num_bytes)
        try:
            yield self.steps.append
        except BaseException:
            self.ends.append("failed")
            raise
        self.ends.append("written")


class Machine:
    """A cache, and a folder of checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.cache_folder = folder / "cache"
        self.exported = self.cache_folder / "exported"
        self.models = folder / "models"
        self.shown = Shown()

    @property
    def exporter(self) -> Exporter:
        return Exporter(ExportCache(self.cache_folder), self.shown, process=PROCESS)

    @property
    def num_exports(self) -> int:
        calls = self.models / CALLS
        return len(calls.read_text()) if calls.exists() else 0

    def checkpoint(self, name: str = "model", weights: bytes = b"weights") -> Path:
        """Writes a checkpoint; its name says what the process does."""
        folder = self.models / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "tokenizer.json"):
            (folder / file).write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
        return folder

    def export(self, folder: Path, precision: Precision | None = None, *, again: bool = False) -> Path:
        return self.exporter.exported(local(folder, precision), again=again)

    def pulled(self, folder: Path, commit: str = "1f3a") -> Callable[[], WantedExport]:
        found = find_checkpoint(folder, None)
        assert found is not None
        pulled = PulledCheckpoint(commit=commit, folder=folder, choice=found.choice)
        return partial(WantedExport.of_pulled, pulled, REPOSITORY)

    def kept(self) -> list[str]:
        """Names in the cache, without digests."""
        return sorted(path.name for path in self.exported.iterdir())


def local(folder: Path, precision: Precision | None = None) -> Callable[[], WantedExport]:
    def read() -> WantedExport:
        found = find_checkpoint(folder, precision)
        assert found is not None
        return WantedExport.of_local(found, str(folder))

    return read


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_export_is_made_once_and_its_progress_is_shown(machine: Machine) -> None:
    folder = machine.checkpoint()
    first = machine.export(folder)

    assert (first / "model.onnx").read_bytes() == b"weightsint8"
    by_default = f"the default ({folder}:VARIANT chooses fp32, fp16, int4)"
    assert machine.shown.notes == [
        f"exporting {folder} as int8, {by_default}, which is done once for a model",
        "reading",
    ]
    assert (machine.shown.steps[0], sum(machine.shown.steps[1:]), machine.shown.ends) == (3 << 20, 3 << 20, ["written"])
    assert machine.kept() == ["lock", first.name, f"{first.name}.json"]

    assert machine.export(folder) == first
    assert machine.num_exports == 1


def test_each_precision_and_each_source_has_an_export_of_its_own(machine: Machine) -> None:
    folder = machine.checkpoint()
    other = Machine(machine.models.parent / "other")
    exports = [machine.export(folder), machine.export(folder, "int4"), machine.export(folder, "fp32")]
    assert [(path / "model.onnx").read_bytes() for path in exports] == [b"weightsint8", b"weightsint4", b"weightsfp32"]
    moved = machine.exporter.exported(local(other.checkpoint()))
    assert moved not in exports
    assert all(path.is_dir() for path in (*exports, moved))


def test_a_source_that_has_changed_is_exported_again_and_the_old_export_is_removed(machine: Machine) -> None:
    folder = machine.checkpoint()
    old, other = machine.export(folder), machine.export(folder, "fp32")
    machine.checkpoint(weights=b"WEIGHTS")  # of the same size
    os.utime(folder / "model.safetensors", ns=(0, 5))
    new = machine.export(folder)

    assert (new / "model.onnx").read_bytes() == b"WEIGHTSint8"
    assert not old.exists()
    assert other.exists(), "it is replaced when it is wanted again"
    assert machine.export(folder) == new
    (folder / "README.md").write_text("new")
    assert machine.export(folder) == new


def test_a_new_version_of_the_code_exports_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = machine.checkpoint()
    old = machine.export(folder)
    monkeypatch.setattr(wanted_export, "_code_digest", lambda: "of other code")
    new = machine.export(folder)
    assert (new != old, old.exists(), new.exists()) == (True, False, True)


def test_an_export_of_a_commit_depends_on_nothing_but_the_commit(machine: Machine) -> None:
    folder = machine.checkpoint()
    first = machine.exporter.exported(machine.pulled(folder))
    assert first.name.startswith("model-int8-")
    os.utime(folder / "model.safetensors", ns=(0, 5))
    assert machine.exporter.exported(machine.pulled(folder)) == first
    second = machine.exporter.exported(machine.pulled(folder, commit="2b4c"))
    assert second != first
    assert first.exists(), "another server may name that commit"


def test_an_export_is_made_again_if_a_file_of_its_commit_was_repaired(machine: Machine) -> None:
    folder = machine.checkpoint(weights=b"damaged")
    first = machine.exporter.exported(machine.pulled(folder))
    machine.checkpoint(weights=b"whole")
    assert machine.exporter.exported(machine.pulled(folder), again=True) == first
    assert (first / "model.onnx").read_bytes() == b"wholeint8"


@pytest.mark.parametrize("damage", ["a file is missing", "a file is longer", "a file is new", "the record is damaged"])
def test_an_export_that_is_not_whole_is_made_again(
    machine: Machine, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = machine.checkpoint()
    export = machine.export(folder)
    match damage:
        case "a file is missing":
            (export / "model.onnx").unlink()
        case "a file is longer":
            (export / "model.onnx").write_bytes(b"weightsint8 and more")
        case "a file is new":
            (export / "model_q4.onnx").touch()
        case _:
            export.with_name(f"{export.name}.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert machine.export(folder) == export
    assert f"the export {export} is not used: " in caplog.text
    assert {path.name: path.read_bytes() for path in export.iterdir()} == {"model.onnx": b"weightsint8"}
    assert machine.num_exports == 2


FAILURES = {
    "refuse": "there is no such architecture",
    "fill disk": "full; free some space (exports are kept in CACHE, which --cache-dir sets)",
    "crash": "exporting SOURCE failed: it crashes its process with SIGSEGV; try `onward export SOURCE OUTPUT`, and ",
    "hoard": "raise the limit, or export it with `onward export` on a larger machine",
    "change": "SOURCE has changed while it was exported; start again",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_sentence_and_leaves_nothing(machine: Machine, name: str) -> None:
    folder = machine.checkpoint(name)
    with pytest.raises(ExportError) as raised:
        machine.export(folder)
    expected = FAILURES[name].replace("SOURCE", str(folder)).replace("CACHE", str(machine.exported))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert machine.kept() == ["lock"]
    assert machine.shown.ends in ([], ["failed"], ["written"])


def test_time_is_limited_by_the_size_of_the_source(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_BASE_S", 1)
    folder = machine.checkpoint("halfway")
    with pytest.raises(
        ExportError, match=rf"^exporting {folder} failed: it takes more than 1 s; export it with `onward"
    ):
        machine.export(folder)
    assert machine.kept() == ["lock"]


def test_what_a_killed_server_left_is_removed_by_the_next_export(machine: Machine) -> None:
    name = "model-int8-0123456789abcdef"
    machine.exported.mkdir(parents=True, mode=0o700)
    for folder in (f".{name}.onward-export", name, "of the user"):
        (machine.exported / folder).mkdir()
        (machine.exported / folder / "model.onnx.data").write_bytes(b"half")
    for file in ("other-fp16-0123456789abcdef.json", f".{name}.json.k2x1"):
        (machine.exported / file).touch()
    export = machine.export(machine.checkpoint())
    assert machine.kept() == ["lock", export.name, f"{export.name}.json", "of the user"]


def test_an_interrupted_export_ends_its_process_and_leaves_nothing(machine: Machine) -> None:
    def interrupt(text: str) -> None:
        if text == "halfway":
            assert [path.name[0] for path in machine.exported.iterdir() if path.is_dir()] == ["."]
            raise KeyboardInterrupt

    folder = machine.checkpoint("halfway")
    machine.shown.on_note = interrupt
    with pytest.raises(KeyboardInterrupt):
        machine.export(folder)
    assert machine.kept() == ["lock"]


def test_servers_that_start_at_once_export_once(machine: Machine) -> None:
    folder = machine.checkpoint()
    waits = threading.Event()
    found: list[Path] = []

    def note(text: str) -> None:
        if text == f"waiting for another process that exports to {machine.exported}":
            waits.set()

    second = Machine(machine.models.parent)
    second.shown.on_note = note
    thread = threading.Thread(target=lambda: found.append(second.export(folder)))
    with ExportCache(machine.cache_folder).writing(note):
        thread.start()
        assert waits.wait(20)
        third = ExportCache(machine.cache_folder)
        assert third.find(local(folder)()) is None
    thread.join(20)
    assert found == [machine.export(folder)]
    assert machine.num_exports == 1


def a_file(path: Path) -> None:
    path.parent.mkdir()
    path.touch()


def a_file_on_the_path(path: Path) -> None:
    path.parent.touch()


def a_folder_that_others_may_write_to(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o777)


@pytest.mark.parametrize("block", [a_file, a_file_on_the_path, a_folder_that_others_may_write_to])
def test_a_cache_that_cannot_be_used_is_named_with_the_flag(machine: Machine, block: Callable[[Path], None]) -> None:
    folder = machine.checkpoint()
    block(machine.exported)
    with pytest.raises(ExportError) as raised:
        machine.export(folder)
    assert str(machine.exported) in str(raised.value)
    assert str(raised.value).endswith("name a folder that can be written to with --cache-dir")


def test_without_a_home_folder_a_flag_is_asked_for(machine: Machine) -> None:
    folder = machine.checkpoint()
    with pytest.raises(ExportError, match="the user has no home; name one with --cache-dir"):
        Exporter(ExportCache(None), machine.shown, process=PROCESS).exported(local(folder))


def test_an_export_in_a_folder_that_others_may_write_to_is_not_served(machine: Machine) -> None:
    folder = machine.checkpoint()
    machine.export(folder)
    machine.exported.chmod(0o777)
    assert ExportCache(machine.cache_folder).find(local(folder)()) is None


def test_weights_that_are_larger_than_the_memory_are_mentioned(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = machine.checkpoint()
    available = iter((None, Available(num_bytes=1 << 20, limit="the limit")))
    monkeypatch.setattr(exporter, "available_memory", lambda: next(available))
    machine.export(folder)
    assert machine.shown.notes[-1] == (
        "the weights take 3.0 MiB, but the limit leaves 1.0 MiB; a smaller precision would fit better"
    )
