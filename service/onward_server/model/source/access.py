"""Checks that a model folder and its files can be read, before they are parsed."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.file_errors import unreadable

_SUFFIXES = (".json", ".jinja", ".onnx")
_SUBFOLDERS = ("onnx", "additional_chat_templates")
_MAX_DEPTH = 4
_MAX_ENTRIES = 10_000
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def require_readable_folder(folder: Path) -> None:
    """Checks the folder and every file in it that may be read later. External data is checked where it is found.

    Raises:
        ModelFolderError: It is not a folder, or a file cannot be read or is only a pointer to one.
    """
    paths = list(_entries(folder))
    for name in _SUBFOLDERS:
        if _is_folder(folder / name):
            paths += _entries(folder / name)
    for path in paths:
        if path.suffix in _SUFFIXES:
            require_readable_file(path)


def require_readable_file(path: Path) -> None:
    """Reads the start of a regular file.

    Raises:
        ModelFolderError: It cannot be read, or is a pointer that Git LFS left in place of the file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ModelFolderError(unreadable(path, error)) from None
    if start == _LFS_POINTER:
        raise ModelFolderError(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or download the "
            "file again"
        )


def list_files(folder: Path) -> Mapping[str, int]:
    """Maps the path of each file to its size in bytes; paths are relative and have slashes.

    Hidden folders and those below `_MAX_DEPTH` levels are left out.

    Raises:
        ModelFolderError: The folder cannot be listed, or has too many entries to be that of a model.
    """
    files: dict[str, int] = {}
    folders = [(folder, 1)]
    num_entries = 0
    for parent, depth in folders:  # grows while it is read
        for path in _entries(parent):
            num_entries += 1
            if num_entries > _MAX_ENTRIES:
                raise ModelFolderError(f"{folder} holds more than {_MAX_ENTRIES:,} files; name the folder of one model")
            if path.is_dir():
                if depth < _MAX_DEPTH and not path.name.startswith("."):
                    folders.append((path, depth + 1))
            else:
                files[path.relative_to(folder).as_posix()] = _size(path)
    return files


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 for a link without its target, which reading reports."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFolderError(
            f"{folder} is not a folder; --model needs a folder with model.onnx, config.json and tokenizer.json"
        ) from None
    except OSError as error:
        raise ModelFolderError(unreadable(folder, error)) from None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ModelFolderError(unreadable(path, error)) from None
