"""Finds what a path names if it is exported before it is served: a checkpoint or a GGUF file."""

from dataclasses import dataclass
from pathlib import Path

from onward_server.model.source.access import list_files
from onward_server.model.source.export_choice import ExportChoice, choose_export, export_of_file
from onward_server.model.source.located_graph import (
    relative_variant,
    require_one_repository,
    require_present,
    snapshot_in_cache,
)
from onward_server.model.source.needed_files import gguf_parts, require_complete_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedCheckpoint:
    """A checkpoint or a GGUF file on this machine."""

    folder: Path
    choice: ExportChoice
    """Its paths are relative to the folder."""

    @property
    def path(self) -> Path:
        """What is exported: the folder, or the first GGUF file."""
        return self.folder / self.choice.gguf_files[0] if self.choice.gguf_files else self.folder


def find_checkpoint(location: Path, variant: str | None) -> LocatedCheckpoint | None:
    """Finds the checkpoint or GGUF file to export.

    Args:
        location: A file or folder.
        variant: See `choose_export`; of a file, only a precision.

    Returns:
        None: A graph is served instead, or `LocatedGraph.find` says what is wrong.

    Raises:
        ModelFolderError: The path cannot be read, a file is missing, or the variant names nothing.
    """
    require_present(location)
    if not location.is_dir():
        if location.suffix.lower() != ".gguf":
            return None
        choice = export_of_file(location.name, variant, source=str(location))
        gguf_parts(choice, list_files(location.parent, max_depth=1), source=str(location.parent))
        return LocatedCheckpoint(folder=location.parent, choice=choice)
    root = snapshot_in_cache(location)
    files = list_files(root)
    require_one_repository(root, files)
    wanted = None if variant is None else relative_variant(variant, location)
    choice = choose_export(files, source=str(location), wanted=wanted)
    if choice is None:
        return None
    require_complete_checkpoint(choice, root, files, source=str(location))
    return LocatedCheckpoint(folder=root, choice=choice)
