"""Lists, opens and reads the files of a model.

Only regular files are opened, and a file is read whole only up to a stated size.
"""

import os
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.file_errors import unreadable

_DESCRIPTIONS = (".json", ".jinja")
_TEMPLATES = "additional_chat_templates"
_MAX_DEPTH = 6
_MAX_ENTRIES = 10_000
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS: Sequence[tuple[Callable[[int], bool], str]] = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def require_readable_folder(folder: Path) -> None:
    """Checks that a folder can be listed and that its JSON files and chat templates can be read.

    Raises:
        ModelFolderError: It is not a folder, or `require_readable_file` rejects a file.
    """
    paths = [*_entries(folder), *(_entries(folder / _TEMPLATES) if _is_folder(folder / _TEMPLATES) else ())]
    for path in paths:
        if path.suffix in _DESCRIPTIONS and not _is_folder(path):
            require_readable_file(path)


def require_readable_file(path: Path) -> None:
    """Checks that a file can be read, by reading its start.

    Raises:
        ModelFolderError: It cannot be read, is empty, is not a regular file, or is a Git LFS pointer.
    """
    with open_file(path) as file:
        start = file.read(len(_LFS_POINTER))
    if not start:
        raise ModelFolderError(f"{path} is empty; download or copy it again")
    if start == _LFS_POINTER:
        raise ModelFolderError(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or download the "
            "file again"
        )


def read_file(path: Path, max_bytes: int) -> bytes:
    """The contents of a file.

    Raises:
        ModelFolderError: It cannot be read, is not a regular file, or is larger than `max_bytes`.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, max_bytes) + 1)  # takes that much memory at once
        if len(data) > size:  # the file has grown, or is one of /proc, which report no size
            data += file.read(max_bytes + 1 - len(data))
    if len(data) > max_bytes:
        raise ModelFolderError(f"{path} has {max(size, len(data)):,} bytes, more than the limit of {max_bytes:,}")
    return data


def read_text(path: Path, max_bytes: int) -> str:
    """The text in a UTF-8 file, with a line feed at the end of each line.

    Raises:
        ModelFolderError: It cannot be read, is not a regular file, is larger than `max_bytes`, or is not UTF-8.
    """
    try:
        text = read_file(path, max_bytes).decode()
    except UnicodeDecodeError as error:
        raise ModelFolderError(f"{path} is not UTF-8 text: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_present(path: Path) -> bool:
    """Whether a path exists. A link counts even if its target is missing.

    Raises:
        ModelFolderError: A folder on the path may not be searched.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ModelFolderError(unreadable(path, error)) from None
    return True


def list_files(folder: Path, *, max_depth: int = _MAX_DEPTH) -> Mapping[str, int]:
    """Maps the path of each file to its size in bytes; paths are relative and have slashes.

    Hidden entries, unprintable names and folders below `max_depth` levels are left out. So are folders that may not be
    read, such as `lost+found`, unless no other folder has a graph.

    Raises:
        ModelFolderError: The folder cannot be listed, or has too many files for a model.
    """
    files: dict[str, int] = {}
    subfolders = [(path, 2) for path in _list_into(files, folder, folder) if max_depth > 1]
    unreadable_folder: ModelFolderError | None = None
    for subfolder, depth in subfolders:  # grows while it is read
        try:
            deeper = _list_into(files, folder, subfolder)
        except ModelFolderError as error:
            unreadable_folder = unreadable_folder or error
            continue
        subfolders += [(path, depth + 1) for path in deeper if depth < max_depth]
        if len(files) + len(subfolders) > _MAX_ENTRIES:
            raise ModelFolderError(f"{folder} holds more than {_MAX_ENTRIES:,} files; name the folder of one model")
    if unreadable_folder is not None and not any(path.endswith(".onnx") for path in files):
        raise unreadable_folder
    return files


@contextmanager
def open_file(path: Path) -> Generator[BufferedReader]:
    """Opens a regular file, or a link to one, for reading.

    Opening a named pipe may block, and opening some devices has side effects. So the type of the file is checked before
    it is opened, and again afterwards, in case it was replaced in between.

    Raises:
        ModelFolderError: It cannot be opened or read, or is not a regular file.
    """
    try:
        _require_regular(path, path.stat().st_mode)
        with open(os.open(path, _OPEN_FLAGS), "rb") as file:  # noqa: PTH123  takes a descriptor
            _require_regular(path, os.fstat(file.fileno()).st_mode)
            yield file
    except OSError as error:
        raise ModelFolderError(unreadable(path, error)) from None


def require_no_link_outside(path: Path, folder: Path) -> None:
    """Checks that all hard links to a file are in the model's folder.

    A graph could otherwise name a file of another user. Files that the operator names are not checked, because package
    managers and deduplicating tools make hard links, too.

    Raises:
        ModelFolderError: There is a link outside the folder.
    """
    found = path.stat()
    if found.st_nlink == 1:
        return
    names = {entry.resolve() for entry in folder.resolve().rglob("*") if _is_same_file(entry, found)}
    if len(names) < found.st_nlink:
        raise ModelFolderError(
            f"{path} has {found.st_nlink} hard links, {found.st_nlink - len(names)} of them outside {folder}, so it "
            "may be another user's file; replace it with a copy"
        )


def _is_same_file(path: Path, found: os.stat_result) -> bool:
    other = path.lstat()
    return (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino)


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "not a regular file")
        raise ModelFolderError(f"{path} is {kind}; the files of a model must be regular files")


def _list_into(files: dict[str, int], root: Path, folder: Path) -> list[Path]:
    """Adds the files of a folder, and returns its subfolders."""
    entries = [path for path in _entries(folder) if not path.name.startswith(".") and path.name.isprintable()]
    subfolders = [path for path in entries if path.is_dir()]
    files.update((path.relative_to(root).as_posix(), _size(path)) for path in entries if path not in set(subfolders))
    return subfolders


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 for a link without its target, which reading reports."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ModelFolderError(unreadable(folder, error)) from None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ModelFolderError(unreadable(path, error)) from None
