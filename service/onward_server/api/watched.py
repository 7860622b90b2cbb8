"""A value that is read from files, and read again when they change."""

import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from onward_server.errors import StartupError

logger = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")
_FileState = tuple[int, int, int, int, int]

_CLOCK_TICK_S = 0.1
"""Two writes that are this close may give a file the same modification time."""


class Watched(Generic[_ValueT]):
    """The value of some files.

    Every use of `current` compares the files' metadata, which takes a few microseconds, so a change takes effect
    at the next use without a background task. Links are followed: a new target, as in a Kubernetes volume, is a change.

    Safe to use from several threads. Two that see the same change may both read the files.
    """

    def __init__(self, what: str, paths: Sequence[Path], read: Callable[[], _ValueT]) -> None:
        """Reads the files.

        Args:
            what: Name of the value in log lines, such as "API keys".
            paths: The files.
            read: Reads and checks them. Raises StartupError if they are unusable; after the start, the previous value
                then stays.

        Raises:
            StartupError: `read` raised it.
        """
        self._what = what
        self._paths = tuple(paths)
        self._read = read
        self._state = self._settled_state()
        self.last = read()
        """The value as it was last read."""
        self._problem = ""

    def current(self) -> _ValueT:
        """Returns the value of the files as they are, or their last usable value."""
        if self._state is None or self._state != self._file_state():
            self.reload()
        return self.last

    def reload(self) -> None:
        """Reads the files even if they seem unchanged. Logs a new value, and a new reason to keep the previous one."""
        if not self._can_read_again():
            return
        self._state = self._settled_state()
        try:
            value = self._read()
        except StartupError as error:
            if str(error) != self._problem:
                logger.error("%s: keeping the previous ones: %s", self._what, error)  # noqa: TRY400  no bug of ours
            self._problem = str(error)
            return
        if value != self.last or self._problem:
            logger.info("%s: read again from %s", self._what, ", ".join(map(str, self._paths)))
        self.last, self._problem = value, ""

    def _settled_state(self) -> Sequence[_FileState | None] | None:
        """The state of the files before they are read. None: one changed so recently that it may change unnoticed."""
        state = self._file_state()
        changed_s = max((file[-1] for file in state if file is not None), default=0) / 1e9
        return state if abs(time.time() - changed_s) > _CLOCK_TICK_S else None

    def _file_state(self) -> Sequence[_FileState | None]:
        return [_file_state(path) for path in self._paths]

    def _can_read_again(self) -> bool:
        """False for a pipe, such as the shell's `<(command)`, which can be read only once."""
        return all(file is None or stat.S_ISREG(file[2]) for file in self._file_state())


def _file_state(path: Path) -> _FileState | None:
    try:
        found = os.stat(path)  # noqa: PTH116  on the path of every call
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, max(found.st_mtime_ns, found.st_ctime_ns)
