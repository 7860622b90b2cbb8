"""A folder that appears under its name only when it is complete: see decision 0037.

It is written under a hidden name beside its final one, under a lock, and renamed in one step. What an interrupted
export leaves under the hidden name is removed by the next export to the same folder.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onward_server.errors import ExportError
from onward_server.model.source.pull_progress import size

_SUFFIX = ".onward-export"


def usable_output(output: Path) -> Path:
    """The absolute path of a folder that an export may create, without links.

    Raises:
        ExportError: There is something else at the path already.
    """
    path = Path(os.path.realpath(output))
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ExportError(f"{str(output)!r} is a path that is not UTF-8 text; name another folder") from None
    try:
        entries = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    except NotADirectoryError:
        raise ExportError(f"{output} is a file; name a folder that does not exist yet") from None
    except OSError as error:
        raise ExportError(f"cannot list {output}: {error.strerror}; name a folder that does not exist yet") from None
    if entries:
        raise ExportError(
            f"{output} is not empty: it has {entries[0]!r}; name another folder, or remove this one first"
        )
    if path == Path(os.path.realpath(".")) or path.is_mount():
        raise ExportError(
            f"{output} cannot be replaced by another folder, because it is "
            f"{'a mount point' if path.is_mount() else 'the current folder'}; name a folder in it, such as "
            f"{output / 'model'}"
        )
    return path


def require_space(output: Path, num_bytes: int) -> None:
    """Checks that the disk has room for an export.

    Raises:
        ExportError: It has less than `num_bytes` left.
    """
    folder = next(folder for folder in output.parents if folder.exists())
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ExportError(
            f"the export takes {size(num_bytes)}, but the disk of {output} has {size(free)} left; free some space, or "
            "name a folder on another disk"
        )


@contextmanager
def staged(output: Path) -> Generator[Path]:
    """A new folder that becomes `output` when the block ends, and is removed if the block raises.

    Folders above it are created.

    Args:
        output: A path of `usable_output`.

    Raises:
        ExportError: The folder cannot be written, another process exports to it, or something else has appeared at
            `output` meanwhile.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with _locked(output.with_name(f".{output.name}{_SUFFIX}"), output) as folder:
            try:
                yield folder
                for path in (*_below(folder), folder):
                    _sync(path)
                folder.rename(output)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            _sync(output.parent)
    except OSError as error:
        raise ExportError(_unwritable(output, error)) from error


@contextmanager
def _locked(folder: Path, output: Path) -> Generator[Path]:
    """Creates an empty folder, or empties the one that an interrupted export left, and locks it."""
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # the process that created it has renamed or removed it
            continue
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportError(f"another process exports to {output}; wait for it, or name another folder") from None
            if not _is_same(folder, descriptor):
                continue
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            yield folder
            return
        finally:
            os.close(descriptor)


def _is_same(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _below(folder: Path) -> Iterator[Path]:
    """The files and folders in a folder, those in a folder before itself."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _below(path)
        yield path


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk, so that a power failure cannot leave a part of it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(output: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return (
                f"the disk of {output} is full: {error.strerror}; free some space, or name a folder on another disk. "
                "Nothing of the export was kept"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"uid {os.geteuid()} may not write {output.parent}: {error.strerror}; name a folder elsewhere"
        case errno.ENOTEMPTY | errno.EEXIST | errno.ENOTDIR if output.exists():
            return f"{output} has appeared while the export ran, so nothing was kept; name another folder"
        case errno.ENOTDIR | errno.EEXIST:
            return f"{output} cannot be created, because a part of the path is a file; correct the path"
        case _:
            return f"cannot write {output}: {error.strerror or error}; name a folder elsewhere"
