"""Downloads files of one commit into the cache of the Hugging Face hub: resumes, and checks hashes."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from onward_server.errors import HubError, HubUnreachable
from onward_server.model.source.hub import Hub
from onward_server.model.source.hub_cache import HubCache
from onward_server.model.source.pull_progress import Advance, PullProgress, size
from onward_server.model.source.remote_file import RemoteFile
from onward_server.model.source.retries import Retries

_CHUNK_BYTES = 1 << 20
_LONG_CHECK_BYTES = 1 << 29
"""Computing the hash of more than this takes seconds."""


class Downloader:
    """Downloads files of one commit."""

    def __init__(
        self, hub: Hub, cache: HubCache, progress: PullProgress, retries: Retries, *, repo: str, commit: str
    ) -> None:
        """Sends nothing yet."""
        self._hub = hub
        self._cache = cache
        self._progress = progress
        self._retries = retries
        self._repo = repo
        self._commit = commit
        self.num_downloaded = 0
        """Files that were not in the cache."""
        self.num_repaired = 0
        """Files whose content in the cache was wrong."""

    def get(self, files: Sequence[RemoteFile], *, check: bool) -> None:
        """Downloads the files that are not in the cache, and continues interrupted downloads.

        Args:
            files: The files.
            check: Whether to check the hashes of files that are in the cache already.

        Raises:
            HubError: A file cannot be downloaded, the disk has too little space, or a hash is wrong twice. An
                incomplete file is kept for the next attempt; one with a wrong hash is removed.
            OSError: The cache cannot be written.
        """
        missing = [file for file in files if not self._is_cached(file, check=check)]
        self._require_space(sum(file.num_bytes - self._cache.partial_bytes(file) for file in missing))
        for file in missing:
            self._download(file)
        self.num_downloaded += len(missing)

    def _is_cached(self, file: RemoteFile, *, check: bool) -> bool:
        path = self._cache.file(self._commit, file)
        if path is None:
            return False
        if not check:
            return True
        self._note_long_check(file, file.num_bytes)
        if not _has_hash(path, file):
            self._progress.note(f"{file.path}: the file in the cache does not match its hash; downloading it again")
            self._cache.discard(self._commit, file)
            self.num_repaired += 1
            return False
        return True

    def _note_long_check(self, file: RemoteFile, num_bytes: int) -> None:
        if num_bytes > _LONG_CHECK_BYTES:
            self._progress.note(f"{file.path}: checking the hash of {size(num_bytes)} in the cache")

    def _require_space(self, num_bytes: int) -> None:
        folder = next(folder for folder in (self._cache.root, *self._cache.root.parents) if folder.exists())
        free = shutil.disk_usage(folder).free
        if num_bytes > free:
            raise HubError(
                f"{self._repo} needs {size(num_bytes)} more, but the disk of {self._cache.root} has {size(free)} left; "
                "free some space, or set HF_HOME to a folder on another disk"
            )

    def _download(self, file: RemoteFile) -> None:
        with self._cache.partial(file, self._progress.note) as stream:
            if stream is None:
                return
            self._note_long_check(file, self._cache.partial_bytes(file))
            content = _Content(file, stream)
            for is_last in (False, True):
                with self._progress.transfer(file, content.num_bytes) as advance:
                    self._fill(content, advance)
                if content.digest == file.digest:
                    self._cache.keep(file, stream)
                    return
                wrong = content.digest
                content.restart()
                if not is_last:
                    self._progress.note(f"{file.path}: the download does not match its hash; downloading it again")
            self._cache.drop_partial(file)
        raise HubError(
            f"{file.path} of {self._repo} arrived with the hash {wrong}, but the hub says {file.digest}; it was "
            f"removed. Pull it again later, and check any proxy between this machine and {self._hub.endpoint}"
        )

    def _fill(self, content: "_Content", advance: Advance) -> None:
        """Gets the rest of a file, over as many connections as it takes."""
        while content.num_bytes < content.file.num_bytes:
            try:
                self._receive(content, advance)
            except HubUnreachable as error:
                self._retries.wait_after(error)

    def _receive(self, content: "_Content", advance: Advance) -> None:
        """Gets the rest of a file over one connection."""
        file = content.file
        with self._hub.body(self._repo, self._commit, file.path, start=content.num_bytes) as body:
            if body.start < content.num_bytes:
                advance(-content.num_bytes)
                content.restart()
            for chunk in body.chunks:
                content.append(chunk)
                advance(len(chunk))
                if content.is_furthest:
                    self._retries.succeeded()
        if content.num_bytes < file.num_bytes:
            raise HubUnreachable(f"{file.path} ends at byte {content.num_bytes:,} of {file.num_bytes:,}")


class _Content:
    """The downloaded part of a file, with its hash."""

    def __init__(self, file: RemoteFile, stream: BinaryIO) -> None:
        """Hashes what an earlier download left."""
        self.file = file
        self.num_bytes = 0
        self._furthest = 0
        self._stream = stream
        self._hasher = file.hasher()
        stream.seek(0)
        while chunk := stream.read(_CHUNK_BYTES):
            self._hasher.update(chunk)
            self.num_bytes += len(chunk)
        if self.num_bytes > file.num_bytes:
            self.restart()

    @property
    def is_furthest(self) -> bool:
        """Whether the part is longer than ever before.

        After a restart, other bytes are no progress: a server without ranges may end too early each time.
        """
        return self.num_bytes > self._furthest

    @property
    def digest(self) -> str:
        """The hash of the part."""
        return self._hasher.hexdigest()

    def append(self, chunk: bytes) -> None:
        """Writes the next bytes."""
        if self.num_bytes + len(chunk) > self.file.num_bytes:
            raise HubError(f"{self.file.path}: the server sends more than {self.file.num_bytes:,} bytes; pull it again")
        self._stream.write(chunk)
        self._hasher.update(chunk)
        self.num_bytes += len(chunk)

    def restart(self) -> None:
        """Discards the part."""
        self._furthest = max(self._furthest, self.num_bytes)
        self._stream.truncate(0)
        self._hasher = self.file.hasher()
        self.num_bytes = 0


def _has_hash(path: Path, file: RemoteFile) -> bool:
    hasher = file.hasher()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest() == file.digest
