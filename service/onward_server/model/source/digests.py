"""Digests of files, each computed once."""

import hashlib
from pathlib import Path

from onward_server.model.source.access import open_file


class FileDigests:
    """Caches digests, because computing one takes a second for each GiB."""

    def __init__(self) -> None:
        """Starts empty."""
        self._digests: dict[Path, bytes] = {}

    def of(self, path: Path) -> bytes:
        """SHA-256 of the content that a file had at the first call."""
        if path not in self._digests:
            with open_file(path) as stream:
                self._digests[path] = hashlib.file_digest(stream, "sha256").digest()
        return self._digests[path]
