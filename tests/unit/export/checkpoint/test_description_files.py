import os
from pathlib import Path

import pytest

from onward_server.errors import ModelFolderError
from onward_server.export.checkpoint.description_files import copy_description_files


def checkpoint(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the content of {name}")
    return folder


def copies(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_configuration_tokenizer_templates_and_licenses_are_copied_and_nothing_else(tmp_path: Path) -> None:
    described = [
        "LICENSE.txt",
        "NOTICE",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    others = ["README.md", "model.safetensors", "original/config.json", "training_args.bin", ".gitattributes", "run.py"]
    source = checkpoint(tmp_path / "source", *described, *others)
    folder = tmp_path / "folder"
    folder.mkdir()

    copy_description_files(source, folder)

    assert copies(folder) == described
    assert (folder / "tokenizer.json").read_text() == "the content of tokenizer.json"


def test_a_copy_has_the_mode_of_a_new_file(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", "config.json")
    (source / "config.json").chmod(0o400)
    folder = tmp_path / "folder"
    folder.mkdir()
    before = os.umask(0o027)
    try:
        copy_description_files(source, folder)
    finally:
        os.umask(before)

    assert (folder / "config.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", b"", "tokenizer.json is empty; download or copy it again"),
        ("config.json", b"version https://git-lfs.github.com/spec/v1\n", "config.json is a Git LFS pointer"),
        ("LICENSE", b"x" * (2 << 20), "LICENSE has 2,097,152 bytes, more than the limit of 1,048,576"),
    ],
)
def test_a_file_that_cannot_be_a_description_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    source = checkpoint(tmp_path / "source", "config.json")
    (source / name).write_bytes(content)

    with pytest.raises(ModelFolderError, match=said):
        copy_description_files(source, tmp_path)


def test_a_named_pipe_in_place_of_a_file_is_named_and_not_opened(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", "config.json")
    os.mkfifo(source / "tokenizer_config.json")

    with pytest.raises(ModelFolderError, match=r"tokenizer_config\.json is a named pipe"):
        copy_description_files(source, tmp_path)
