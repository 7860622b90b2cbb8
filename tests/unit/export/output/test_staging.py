import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from onward_server.errors import ExportError
from onward_server.export.output.staging import require_space, staged, usable_output

WRITES_AND_WAITS = """
import sys
from pathlib import Path
from onward_server.export.output.staging import staged

with staged(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("a part")
    (folder / "templates").mkdir()
    (folder / "templates/one").write_text("a part")
    print("written", flush=True)
    sys.stdin.read()
"""


def exporting(output: Path) -> subprocess.Popen[str]:
    """A process that has written a part of an export and waits for the end of stdin."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_AND_WAITS, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with staged(tmp_path / "models/new") as folder:
        (folder / "graph").write_text("whole")
        assert not (tmp_path / "models/new").exists()
        assert folder.name.startswith(".")

    assert names(tmp_path / "models") == ["new"]
    assert (tmp_path / "models/new/graph").read_text() == "whole"


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()

    with staged(usable_output(tmp_path / "new")) as folder:
        (folder / "graph").write_text("whole")

    assert names(tmp_path / "new") == ["graph"]


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with staged(tmp_path / "new"):
            pass
    finally:
        os.umask(before)

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("failure", [ExportError("unsupported"), KeyboardInterrupt()], ids=repr)
def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path, failure: BaseException) -> None:
    def fail() -> None:
        with staged(tmp_path / "new") as folder:
            (folder / "weights").write_text("a part")
            raise failure

    with pytest.raises(type(failure)):
        fail()

    assert names(tmp_path) == []


def test_what_a_killed_export_left_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    with exporting(tmp_path / "new") as process:
        process.kill()
    left = names(tmp_path)

    with staged(tmp_path / "new") as folder:
        assert names(folder) == []
        (folder / "graph").write_text("whole")

    assert [name[0] for name in left] == ["."]
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["graph"]


def test_the_second_of_two_exports_to_one_folder_is_rejected(tmp_path: Path) -> None:
    with exporting(tmp_path / "new") as process:
        with (
            pytest.raises(ExportError, match=r"another process exports to .*/new; wait for it, or name another folder"),
            staged(tmp_path / "new"),
        ):
            pass
        process.communicate("")

    assert process.returncode == 0
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["templates", "weights"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    def export() -> None:
        with staged(tmp_path / "new") as folder:
            (folder / "graph").write_text("whole")
            (tmp_path / "new").mkdir()
            (tmp_path / "new/other").write_text("kept")

    with pytest.raises(ExportError, match="new has appeared while the export ran, so nothing was kept"):
        export()

    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["other"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk of .*/new is full: No space left on device; free"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "uid .* may not write .*: Read-only file system; name a folder",
        ),
        (OSError(errno.EIO, "Input/output error"), "cannot write .*/new: Input/output error; name a folder elsewhere"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, error: OSError, said: str) -> None:
    with pytest.raises(ExportError, match=said), staged(tmp_path / "new"):
        raise error

    assert names(tmp_path) == []


def test_a_path_through_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(ExportError, match="new cannot be created, because a part of the path is a file"),
        staged(tmp_path / "file/new"),
    ):
        pass


def test_folders_that_exist_are_rejected_unless_they_are_empty(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/config.json").touch()
    (tmp_path / "file").touch()

    with pytest.raises(
        ExportError, match=r"full is not empty: it has 'config\.json'; name another folder, or remove this"
    ):
        usable_output(tmp_path / "full")
    with pytest.raises(ExportError, match="file is a file; name a folder that does not exist yet"):
        usable_output(tmp_path / "file")


def test_a_path_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"gr\\udcfcn' is a path that is not UTF-8 text; name another folder"):
        usable_output(tmp_path / os.fsdecode(b"gr\xfcn"))


def test_the_current_folder_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ExportError, match=r"\. cannot be replaced .* it is the current folder; name a folder in it"):
        usable_output(Path())


def test_a_mount_point_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume").mkdir()

    def is_mount(path: Path) -> bool:
        return path == tmp_path / "volume"

    monkeypatch.setattr(Path, "is_mount", is_mount)

    with pytest.raises(ExportError, match=r"it is a mount point; name a folder in it, such as .*/volume/model"):
        usable_output(tmp_path / "volume")


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")

    assert usable_output(tmp_path / "link") == tmp_path / "target"


def test_a_disk_without_room_is_named_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=3 << 20)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    with pytest.raises(
        ExportError, match=r"the export takes 5\.0 MiB, but the disk of .* has 3\.0 MiB left; free some"
    ):
        require_space(tmp_path / "models/new", 5 << 20)
    require_space(tmp_path / "models/new", 3 << 20)
