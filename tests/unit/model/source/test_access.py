"""Only regular files of a bounded size are read, and a hard link does not lead outside the model's folder."""

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from onward_server.completion.prompt.template_sources import folder_templates, named_template
from onward_server.errors import ModelFolderError, StartupError
from onward_server.model.source import access
from onward_server.model.source.access import open_file, read_file, read_text, require_no_link_outside
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.json_file import read_json_object
from onward_server.model.tokenizer import Tokenizer

READ_FILES = [
    "model.onnx",
    "weights.bin",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "another.json",
]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe").name)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (make_pipe, "is a named pipe"),
    "a link to a pipe": (link_to_pipe, "is a named pipe"),
    "a link to a device": (link_to_zeros, "is a device"),
}


def read_everything(folder: Path) -> None:
    """Reads all files that the server reads before it makes a session."""
    ModelFolder.read(folder).fingerprint(FileDigests())
    Tokenizer.load(folder)
    folder_templates(folder)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in READ_FILES for kind in KINDS if (name, kind) != ("weights.bin", "a link to a device")],
)
def test_a_file_that_never_ends_is_rejected_at_once(folder: Path, name: str, kind: str) -> None:
    """Reading a pipe or `/dev/zero` hung the start."""
    make, said = KINDS[kind]
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(ModelFolderError, match=rf"{name} {said}; the files of a model must be regular files"):
        read_everything(folder)


def test_a_socket_is_rejected(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        with pytest.raises(ModelFolderError, match="s is a socket"):
            read_file(tmp_path / "s", 10)


def test_a_template_that_the_operator_names_may_not_be_a_device() -> None:
    with pytest.raises(StartupError, match=r"--chat-template: /dev/zero is a device"):
        named_template("/dev/zero")


def test_a_file_that_becomes_a_pipe_after_the_check_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    real = access._require_regular

    def replace_after(path: Path, mode: int) -> None:
        real(path, mode)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(access, "_require_regular", replace_after)
    with pytest.raises(ModelFolderError, match="is a named pipe"), open_file(path) as _:
        monkeypatch.undo()


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(ModelFolderError, match="file has 5 bytes, more than the limit of 4"):
        read_file(path, 4)


def test_a_small_file_takes_little_memory_whatever_the_limit_is(tmp_path: Path) -> None:
    """The buffer was as large as the limit, which failed under `ulimit -d`."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        read_file(path, 128 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_without_a_size_is_read_whole_below_its_limit() -> None:
    assert read_file(Path("/proc/self/status"), 1 << 20).startswith(b"Name:")


def test_a_file_without_a_size_is_read_up_to_its_limit() -> None:
    """Files of /proc say that they have 0 bytes."""
    with pytest.raises(ModelFolderError, match="more than the limit of 4"):
        read_file(Path("/proc/self/status"), 4)


def test_an_enormous_json_file_is_rejected_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        ModelFolderError, match=r"config\.json has 1,099,511,627,776 bytes, more than the limit of 16,777,216"
    ):
        read_json_object(tmp_path / "config.json")


@pytest.mark.parametrize(
    "text",
    ['{"a":' * 100_000 + "1" + "}" * 100_000, '{"a": ' + "9" * 100_000 + "}", '{"a": "\\ud8'],
    ids=["nested", "a huge number", "truncated"],
)
def test_json_that_python_cannot_read_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"config\.json is not valid JSON"):
        read_json_object(tmp_path / "config.json")


def test_lines_of_text_end_alike_on_every_system(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "t.jinja", 100) == "a\nb\nc\n"


def test_weights_that_are_hard_links_to_a_file_outside_are_rejected(folder: Path) -> None:
    """The graph names this file, so it could name one that only the server may read."""
    (folder / "weights.bin").rename(folder.parent / "secret")
    os.link(folder.parent / "secret", folder / "weights.bin")
    with pytest.raises(
        ModelFolderError,
        match=r"weights\.bin has 2 hard links, 1 of them outside .*tiny, .*; replace it with a copy",
    ):
        ModelFolder.read(folder)


def test_weights_with_two_names_in_the_folder_are_served(folder: Path) -> None:
    os.link(folder / "weights.bin", folder / "copy.bin")
    assert ModelFolder.read(folder).weight_bytes > 0


@pytest.mark.parametrize("name", ["model.onnx", "config.json", "tokenizer.json"])
def test_files_that_the_operator_named_may_be_hard_links(folder: Path, name: str) -> None:
    """Package managers install files as links to their caches."""
    os.link(folder / name, folder.parent / name)
    read_everything(folder)


def test_a_link_in_the_cache_of_hugging_face_is_one_name(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(b"x")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "weights.bin").symlink_to("../blobs/1")
    require_no_link_outside(tmp_path / "snapshot" / "weights.bin", tmp_path / "snapshot")
