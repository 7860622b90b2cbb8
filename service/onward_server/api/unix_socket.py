"""A Unix socket that only one server may listen on."""

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path
from urllib.parse import unquote

from onward_server.errors import StartupError

_MAX_PATH_BYTES = 107


class SocketLock:
    """A locked file beside a Unix socket. Without it, gRPC takes the socket of a server that is still running.

    The file is removed when the lock is released. After a crash it stays, unlocked, and the next server reuses it.
    """

    def __init__(self, listen: str) -> None:
        """Locks the socket of `unix:PATH`.

        Raises:
            StartupError: Another server listens there, or this process cannot create the socket.
        """
        self._socket = _path(listen)
        self._path = self._socket.with_name(f"{self._socket.name}.lock")
        self._descriptor = self._locked()
        try:
            _require_unused(self._socket)
        except StartupError:
            self.release()
            raise

    def release(self) -> None:
        """Removes the file and unlocks it."""
        if self._is_current(self._descriptor):
            self._path.unlink()
        os.close(self._descriptor)

    def _locked(self) -> int:
        """A descriptor of the file, locked."""
        while True:
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise _in_use(self._socket) from None
            if self._is_current(descriptor):
                return descriptor
            os.close(descriptor)  # its last owner removed the file between the two calls

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            raise StartupError(
                f"--listen: {self._socket.parent}, the folder of unix:{self._socket}, does not exist; create it"
            ) from None
        except OSError as error:
            raise StartupError(
                f"--listen: uid {os.geteuid()} cannot create {self._path}, which locks the socket: {error.strerror}; "
                "let it write to the folder, or choose another path"
            ) from None

    def _is_current(self, descriptor: int) -> bool:
        """Whether the path still leads to the open file."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        return False


def _path(listen: str) -> Path:
    path = Path(unquote(listen.removeprefix("unix:")))  # as gRPC reads it
    if (length := len(os.fsencode(path))) > _MAX_PATH_BYTES:
        raise StartupError(
            f"--listen: the path of {listen} has {length} bytes; a Unix socket's may have at most {_MAX_PATH_BYTES}"
        )
    return path


def _require_unused(path: Path) -> None:
    """Raises StartupError if a server listens on the path, or if it is not a socket."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise StartupError(f"--listen: {path} is not a socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # its process is gone; gRPC replaces it
        except BlockingIOError:
            pass  # a server listens, and its backlog is full
        except OSError as error:
            raise StartupError(
                f"--listen: uid {os.geteuid()} cannot use the socket {path}: {error.strerror}; remove it if no server "
                "listens there, or choose another path"
            ) from None
    raise _in_use(path)


def _in_use(path: Path) -> StartupError:
    return StartupError(f"--listen: another server listens on unix:{path}; stop it, or choose another path")
