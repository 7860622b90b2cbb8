"""Identifies an export by its source, its precision, and the code that exports."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

from onward_server.model.exporting.precision import PRECISIONS, Precision
from onward_server.model.source.access import list_files
from onward_server.model.source.located_checkpoint import LocatedCheckpoint
from onward_server.model.source.pulled import PulledCheckpoint
from onward_server.settings.model_reference import HubRepository
from onward_server.version import VERSION

_PACKAGE = Path(__file__).resolve().parents[2] / "export"
_CHECKPOINT_FILES = (".json", ".jinja", ".safetensors")
_TEMPLATES = "additional_chat_templates/"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME_LENGTH = 80

_FileState: TypeAlias = tuple[str, int, int]
"""Path, size in bytes, and modification time in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedExport:
    """An export that may exist already."""

    path: Path
    """The checkpoint folder or GGUF file to read."""
    shown: str
    """The name that the user gave, without a variant."""
    title: str
    """The start of the name of its folder."""
    origin: str
    """Its source: a path without links, or a commit of a repository."""
    contents: tuple[_FileState, ...]
    """The state of the files that it is made from. Empty for a commit, which never changes."""
    num_bytes: int
    """Size of the files that it is made from."""
    precision: Precision
    is_default: bool
    """Whether the precision is the default, because no variant was named."""

    @classmethod
    def of_local(cls, checkpoint: LocatedCheckpoint, shown: str) -> "WantedExport":
        """An export of files on this machine.

        Raises:
            OSError: A file has just disappeared.
        """
        contents = tuple(_states(checkpoint))
        resolved = checkpoint.path.resolve()
        return cls(
            path=checkpoint.path.absolute(),
            shown=shown,
            title=resolved.name,
            origin=str(resolved),
            contents=contents,
            num_bytes=sum(size for _, size, _ in contents),
            precision=checkpoint.choice.precision,
            is_default=checkpoint.choice.is_default,
        )

    @classmethod
    def of_pulled(cls, pulled: PulledCheckpoint, repository: HubRepository) -> "WantedExport":
        """An export of files of a commit.

        Raises:
            OSError: A file has just disappeared.
        """
        local = cls.of_local(LocatedCheckpoint(folder=pulled.folder, choice=pulled.choice), str(repository))
        files = pulled.choice.gguf_files[:1]
        return replace(
            local,
            title=Path(files[0]).name if files else repository.name,
            origin="/".join((f"{repository.owner}/{repository.name}@{pulled.commit}", *files)),
            contents=(),
        )

    @property
    def name(self) -> str:
        """The name of its folder, which is unique to this export."""
        identity = json.dumps([self.origin, self.contents, self.precision, VERSION, _code_digest()])
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        title = _UNSAFE.sub("-", self.title.removesuffix(".gguf"))[:_MAX_NAME_LENGTH].strip("-.")
        return f"{title or 'model'}-{self.precision}-{digest}"

    @property
    def reason(self) -> str:
        """Where it comes from, for the log."""
        return f"exported from {self.shown} as {self.precision}{', the default' if self.is_default else ''}"

    @property
    def other_precisions(self) -> list[Precision]:
        """The precisions that the user may choose instead."""
        return [precision for precision in PRECISIONS if precision != self.precision]


def _states(checkpoint: LocatedCheckpoint) -> Iterator[_FileState]:
    for name in _file_names(checkpoint):
        found = (checkpoint.folder / name).stat()
        yield name, found.st_size, found.st_mtime_ns


def _file_names(checkpoint: LocatedCheckpoint) -> Sequence[str]:
    if checkpoint.choice.gguf_files:
        return checkpoint.choice.gguf_files
    return [
        name
        for name in list_files(checkpoint.folder, max_depth=2)
        if name.endswith(_CHECKPOINT_FILES) and ("/" not in name or name.startswith(_TEMPLATES))
    ]


@cache
def _code_digest() -> str:
    """Digest of the modules that export."""
    sources = (path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py")))
    return hashlib.sha256(b"\0".join(sources)).hexdigest()
