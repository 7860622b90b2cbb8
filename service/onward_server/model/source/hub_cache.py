"""The folder in which all tools of the Hugging Face hub keep what they downloaded from one repository.

`blobs/` holds contents, named by their hashes; `snapshots/COMMIT/` holds links to them, named as in the repository; and
`refs/` says which commit a branch was last seen at (huggingface.co/docs/huggingface_hub/guides/manage-cache). A blob is
moved into place when it is complete and its hash is right. Links are made when all blobs of a model are there.
"""

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from onward_server.model.source.remote_file import RemoteFile

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubCache:
    """The cached files of one repository."""

    def __init__(self, folder: Path, repo: str) -> None:
        """Creates nothing yet.

        Args:
            folder: Folder of all repositories.
            repo: `OWNER/NAME`.
        """
        self.root = folder
        self._folder = folder / f"models--{repo.replace('/', '--')}"

    def snapshot(self, commit: str) -> Path:
        """The folder with the files of a commit."""
        return self._folder / "snapshots" / commit

    def commit_of(self, revision: str) -> str | None:
        """The commit at which a branch or tag was last seen, or the commit itself; None if it is not cached."""
        try:
            commit = self._ref(revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = revision
        return commit if _COMMIT.fullmatch(commit) and self.snapshot(commit).is_dir() else None

    def file(self, commit: str, file: RemoteFile) -> Path | None:
        """The path of a complete file of a commit: its link, or else its blob; None: it is not in the cache."""
        paths = (self.snapshot(commit) / file.path, self._blob(file))
        return next((path for path in paths if _has_size(path, file)), None)

    def existing(self, commit: str, file: RemoteFile) -> Path:
        """Like `file`, of a file that is in the cache."""
        path = self.file(commit, file)
        assert path is not None, file.path
        return path

    def partial_bytes(self, file: RemoteFile) -> int:
        """The number of bytes of a file that an interrupted download left."""
        try:
            return self._partial(file).stat().st_size
        except OSError:
            return 0

    @contextmanager
    def partial(self, file: RemoteFile, note: Callable[[str], None]) -> Generator[BinaryIO | None]:
        """Opens the partial download of a file for reading and appending, and locks it.

        Waits for another process that downloads the same file, with a note. None: that process has completed it.
        """
        path = self._partial(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with path.open("a+b") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    note(f"{file.path}: waiting for another process that downloads it")
                    fcntl.flock(stream, fcntl.LOCK_EX)
                if _has_size(self._blob(file), file):
                    path.unlink(missing_ok=True)
                    yield None
                    return
                if path.exists() and os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                    yield stream
                    return

    def drop_partial(self, file: RemoteFile) -> None:
        """Removes the partial download of a file."""
        self._partial(file).unlink(missing_ok=True)

    def keep(self, file: RemoteFile, stream: BinaryIO) -> None:
        """Turns a partial download into a blob, once it is complete and its hash is right."""
        stream.flush()
        os.fsync(stream.fileno())
        self._partial(file).replace(self._blob(file))

    def discard(self, commit: str, file: RemoteFile) -> None:
        """Removes a damaged file."""
        for path in (self.snapshot(commit) / file.path, self._blob(file)):
            path.unlink(missing_ok=True)

    def link(self, commit: str, files: Sequence[RemoteFile]) -> None:
        """Links the files in the folder of the commit, in this order."""
        for file in files:
            path, blob = self.snapshot(commit) / file.path, self._blob(file)
            if _has_size(path, file):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a link to a missing blob, or a file of the wrong size
            try:
                path.symlink_to(os.path.relpath(blob, path.parent))
            except FileExistsError:  # another process was faster
                pass
            except OSError:  # a file system without links
                shutil.move(blob, path)

    def set_commit(self, revision: str, commit: str) -> None:
        """Records the commit of a branch or tag."""
        if revision == commit or self.commit_of(revision) == commit:
            return
        path = self._ref(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        new.write_text(commit, encoding="ascii")
        new.replace(path)

    def _ref(self, revision: str) -> Path:
        """The file with the commit of a branch or tag, whose name may hold slashes.

        Raises:
            ValueError: The name leads out of the folder.
        """
        path = PurePosixPath(revision)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{revision!r} is not the name of a revision")
        return self._folder / "refs" / path

    def _blob(self, file: RemoteFile) -> Path:
        return self._folder / "blobs" / file.digest

    def _partial(self, file: RemoteFile) -> Path:
        return self._folder / "blobs" / f"{file.digest}.onward.incomplete"


def _has_size(path: Path, file: RemoteFile) -> bool:
    try:
        return path.stat().st_size == file.num_bytes
    except OSError:
        return False
