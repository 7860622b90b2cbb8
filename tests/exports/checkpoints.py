"""The committed checkpoints: small random models, with what greedy decoding of transformers gives after each prompt.

`models/checkpoints` made them. Each has an archive.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from onward_server.export.exporter import export_model
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.progress import ExportLines

DATA = Path(__file__).parents[1] / "data" / "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint, and its reference."""

    name: str
    model_type: str
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    """The tokens that transformers gives after each prompt, in float32."""

    def extract(self, folder: Path) -> Path:
        """Writes the files of the checkpoint to a folder below one."""
        with tarfile.open(DATA / f"{self.name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return folder / self.name

    def export(self, folder: Path, precision: Precision) -> Path:
        """Exports the checkpoint to a folder below one."""
        output = folder / precision
        export_model(self.extract(folder), output, precision, ExportLines(lambda _: None))
        return output


def committed_checkpoints() -> list[Checkpoint]:
    """All of them, in the order of the file that lists them."""
    rows = cast(list[dict[str, object]], json.loads((DATA / "references.json").read_text(encoding="utf-8")))
    return [_checkpoint(row) for row in rows]


def _checkpoint(row: dict[str, object]) -> Checkpoint:
    prompts, outputs = (tuple(tuple(ids) for ids in cast(list[list[int]], row[key])) for key in ("prompts", "outputs"))
    return Checkpoint(
        name=cast(str, row["name"]), model_type=cast(str, row["model_type"]), prompts=prompts, outputs=outputs
    )
