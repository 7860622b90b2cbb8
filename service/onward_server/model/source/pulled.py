"""What a pull has downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from onward_server.model.source.choice import Choice
from onward_server.model.source.export_choice import ExportChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledModel:
    """A graph in the cache of the hub, with all that is needed to serve it."""

    commit: str
    folder: Path
    """The folder with the files of the commit."""
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledCheckpoint:
    """A checkpoint or GGUF file in the cache of the hub, which is exported before it is served."""

    commit: str
    folder: Path
    """The folder with the files of the commit."""
    choice: ExportChoice
    is_repaired: bool = False
    """Whether a file was downloaded again because its content in the cache was wrong."""


Pulled: TypeAlias = PulledModel | PulledCheckpoint
