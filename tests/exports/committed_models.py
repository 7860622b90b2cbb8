"""The committed checkpoints and GGUF files: small random models, with the tokens of greedy decoding after each prompt.

`models/checkpoints` and `models/gguf_files` made them. Each has an archive.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from onward_server.export.exporter import export_model
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.progress import ExportLines

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedModel:
    """A checkpoint or GGUF file, and its reference."""

    name: str
    family: str
    """The `model_type` of a checkpoint, or the `general.architecture` of a GGUF file."""
    archive: Path
    source: str
    """Path of the checkpoint folder or GGUF file in the archive."""
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    """The tokens that transformers gives after each prompt in float32, from the dequantized weights of a GGUF file."""

    def extract(self, folder: Path) -> Path:
        """Extracts the model into a folder, and returns its path."""
        with tarfile.open(self.archive) as archive:
            archive.extractall(folder, filter="data")
        return folder / self.source

    def export(self, folder: Path, precision: Precision) -> Path:
        """Exports the model to a folder in `folder`, and returns its path."""
        output = folder / precision
        export_model(self.extract(folder), output, precision, ExportLines(lambda _: None))
        return output


def committed_checkpoints() -> list[CommittedModel]:
    """All checkpoints, in the order of the file that lists them."""
    return _models(DATA / "checkpoints", family_key="model_type", source="{name}")


def committed_gguf_files() -> list[CommittedModel]:
    """All GGUF files, in the order of the file that lists them."""
    return _models(DATA / "gguf", family_key="architecture", source="{name}/{name}.gguf")


def _models(folder: Path, *, family_key: str, source: str) -> list[CommittedModel]:
    rows = cast(list[dict[str, object]], json.loads((folder / "references.json").read_text(encoding="utf-8")))
    return [
        CommittedModel(
            name=(name := cast(str, row["name"])),
            family=cast(str, row[family_key]),
            archive=folder / f"{name}.tar.xz",
            source=source.format(name=name),
            prompts=_sequences(row["prompts"]),
            outputs=_sequences(row["outputs"]),
        )
        for row in rows
    ]


def _sequences(value: object) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(ids) for ids in cast(list[list[int]], value))
