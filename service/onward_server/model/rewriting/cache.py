"""Keeps the outcomes of rewritings in files, so that a model is rewritten once and not at every start.

The files of several servers may lie in one folder. A file is written under another name and then renamed, and it begins
with a checksum. So a reader never sees a part of one, and one that is damaged counts as missing.
"""

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from onward_server.file_errors import unreadable
from onward_server.model.private_folder import require_private
from onward_server.model.rewriting.outcome import Outcome, outcome_of

logger = logging.getLogger(__name__)

_SUBFOLDER = "rewritten"
_SUFFIX = ".graph"
_MAX_FILES = 64
"""The files that were used last are kept."""
_MAX_FILE_BYTES = 1 << 28
_DIGEST_BYTES = hashlib.sha256().digest_size


class RewritingCache:
    """A folder of outcomes by key. A fault in it is logged, and never raised."""

    def __init__(self, folder: Path | None) -> None:
        """Uses a subfolder of `folder`. Both are made when they are needed. None: keeps nothing."""
        self._folder = None if folder is None else folder / _SUBFOLDER

    def find(self, key: str) -> Outcome | None:
        """The outcome that was kept for a key; None if there is none, or if its file is damaged."""
        if self._folder is None:
            return None
        path = self._folder / f"{key}{_SUFFIX}"
        try:
            require_private(self._folder)
            outcome = _outcome(_read(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("%s is not used: %s", path, _sentence(path, error))
            return None
        with contextlib.suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return outcome

    def keep(self, key: str, outcome: Outcome) -> None:
        """Keeps an outcome, and removes the files whose last use was longest ago."""
        if self._folder is None:
            return
        path = self._folder / f"{key}{_SUFFIX}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            require_private(self._folder)
            _write(path, outcome.to_bytes())
            self._remove_old()
        except (OSError, ValueError) as error:
            logger.warning(
                "the rewritten graph is not kept, so the next start rewrites the model again: %s; name a folder that "
                "can be written to with --cache-dir",
                _sentence(path, error),
            )

    def _remove_old(self) -> None:
        found = sorted(self._files(), key=lambda entry: entry[0], reverse=True)
        for _, path in found[_MAX_FILES:]:
            path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, Path]]:
        """Time of last use of each file. Temporary files that an ended process left behind are among them."""
        assert self._folder is not None
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another server has just removed it
                yield path.stat().st_mtime, path


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
            raise ValueError("it is not a file that a server has written")
        return file.read()


def _outcome(content: bytes) -> Outcome:
    digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("it is damaged")
    return outcome_of(data)


def _write(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sentence(path: Path, error: OSError | ValueError) -> str:
    return unreadable(path, error) if isinstance(error, OSError) else str(error)
