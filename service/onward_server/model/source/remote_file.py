"""A file of a repository on the Hugging Face hub, and its hash."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Hasher(Protocol):
    """Computes a hash."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes."""
        ...

    def hexdigest(self) -> str:
        """The hash of all bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a commit."""

    path: str
    """Relative to the repository, with slashes; never leads out of it."""
    num_bytes: int
    digest: str
    """SHA-256 of the content if it is in Git LFS, else git's hash of the blob. It names the blob in the cache."""

    def hasher(self) -> Hasher:
        """A hash to update with the content; its hexdigest must be `digest`."""
        if _SHA256.fullmatch(self.digest):
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.num_bytes, usedforsecurity=False)  # as `git hash-object` does
