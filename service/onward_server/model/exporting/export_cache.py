"""Keeps exports in a folder, so that a model is exported once and not at every start.

`NAME/` is an export, and `NAME.json` its record, which is written last. An export without a record, or whose files have
other sizes than the record says, is not used. One process at a time writes to the folder.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from onward_server.errors import ExportError, ModelFolderError
from onward_server.file_errors import unreadable
from onward_server.model.exporting.precision import PRECISIONS
from onward_server.model.exporting.wanted_export import WantedExport
from onward_server.model.private_folder import require_private
from onward_server.model.source.access import list_files
from onward_server.model.source.json_file import JsonObject, read_json_object

logger = logging.getLogger(__name__)

_SUBFOLDER = "exported"
_LOCK = "lock"
_SUFFIX = ".json"
_EXPORT = re.compile(rf"(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*-({'|'.join(PRECISIONS)})-[0-9a-f]{{16}})(\.json)?")
_LEFTOVER = re.compile(rf"\.{_EXPORT.pattern}\..+")
"""Folders and files of an export that was interrupted."""
_OTHER_FOLDER = "name a folder that can be written to with --cache-dir"


class ExportCache:
    """A folder of exports."""

    def __init__(self, folder: Path | None) -> None:
        """Uses a subfolder of `folder`, and creates both when they are needed. None: no export can be made."""
        self._folder = None if folder is None else folder.absolute() / _SUBFOLDER

    def find(self, wanted: WantedExport) -> Path | None:
        """The folder of an export; None if it does not exist, or cannot be used, which is logged."""
        if self._folder is None:
            return None
        folder = self._folder / wanted.name
        try:
            if not _record(folder).is_file():
                return None
            require_private(self._folder)
            record = read_json_object(_record(folder))
            if (record.get("origin"), record.get("files")) != (wanted.origin, list_files(folder)):
                raise ValueError("its files are not those that its record lists")  # noqa: TRY301
        except (OSError, ValueError, ModelFolderError) as error:
            logger.warning("the export %s is not used: %s", folder, error)
            return None
        return folder

    @contextlib.contextmanager
    def writing(self, note: Callable[[str], None]) -> Generator[Path]:
        """Gives the folder to this process alone, and removes what interrupted exports left in it.

        Waits for another process that exports, with a note.

        Raises:
            ExportError: The folder cannot be written.
        """
        if self._folder is None:
            raise ExportError("exports need a folder, and the user has no home; name one with --cache-dir")
        with _locked(self._folder, note):
            _remove_leftovers(self._folder)
            try:
                yield self._folder
            finally:
                _remove_leftovers(self._folder)

    def keep(self, wanted: WantedExport) -> Path:
        """Records an export that is complete, and removes exports that it replaces. Call it in `writing`.

        Raises:
            ExportError: The record cannot be written.
        """
        assert self._folder is not None
        folder = self._folder / wanted.name
        record = {"origin": wanted.origin, "precision": wanted.precision, "files": list_files(folder)}
        try:
            _write(_record(folder), json.dumps(record, indent=1))
        except OSError as error:
            raise ExportError(_unwritable(self._folder, error)) from error
        for other, found in self._records():
            same = (found.get("origin"), found.get("precision")) == (wanted.origin, wanted.precision)
            if same and other != folder:
                self.remove(other.name)
        return folder

    def remove(self, name: str) -> None:
        """Removes an export. Call it in `writing`."""
        assert self._folder is not None
        _record(self._folder / name).unlink(missing_ok=True)  # first, because an export without a record is not used
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _records(self) -> Iterator[tuple[Path, JsonObject]]:
        assert self._folder is not None
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(ModelFolderError):
                yield path.with_suffix(""), read_json_object(path)


def _record(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_SUFFIX}")


@contextlib.contextmanager
def _locked(folder: Path, note: Callable[[str], None]) -> Generator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(folder)
        lock = (folder / _LOCK).open("a")
    except ValueError as error:
        raise ExportError(f"exports cannot be kept: {error}, or {_OTHER_FOLDER}") from error
    except OSError as error:
        raise ExportError(_unwritable(folder, error)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"waiting for another process that exports to {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(folder: Path) -> None:
    """Removes folders without a record, records without a folder, and temporary files."""
    names = {path.name for path in folder.iterdir()}
    for name in names:
        found = _EXPORT.fullmatch(name)
        is_whole = found is not None and {found["name"], f"{found['name']}{_SUFFIX}"} <= names
        if _LEFTOVER.fullmatch(name) or (found is not None and not is_whole):
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


def _unwritable(folder: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk of {folder} is full: {error.strerror}; free some space, or {_OTHER_FOLDER}"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"uid {os.geteuid()} may not write {folder}: {error.strerror}; {_OTHER_FOLDER}"
        case errno.ENOTDIR | errno.EEXIST:
            return f"{folder} cannot be created, because a part of the path is a file; {_OTHER_FOLDER}"
        case _:
            return f"exports cannot be kept: {unreadable(folder, error)}; {_OTHER_FOLDER}"
