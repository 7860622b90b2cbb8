"""The committed GGUF files: small random models, with what greedy decoding of their dequantized weights gives.

`models/gguf_files` made them. Each has an archive.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from onward_server.export.exporter import export_model
from onward_server.model.exporting.precision import Precision
from onward_server.model.exporting.progress import ExportLines

DATA = Path(__file__).parents[1] / "data" / "gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedGguf:
    """A file, and its reference."""

    name: str
    architecture: str
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    """The tokens that transformers gives after each prompt for the dequantized weights, in float32."""

    def extract(self, folder: Path) -> Path:
        """Writes the file to a folder below one."""
        with tarfile.open(DATA / f"{self.name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return folder / self.name / f"{self.name}.gguf"

    def export(self, folder: Path, precision: Precision) -> Path:
        """Exports the file to a folder below one."""
        output = folder / precision
        export_model(self.extract(folder), output, precision, ExportLines(lambda _: None))
        return output


def committed_gguf_files() -> list[CommittedGguf]:
    """All of them, in the order of the file that lists them."""
    rows = cast(list[dict[str, object]], json.loads((DATA / "references.json").read_text(encoding="utf-8")))
    return [_committed(row) for row in rows]


def _committed(row: dict[str, object]) -> CommittedGguf:
    prompts, outputs = (tuple(tuple(ids) for ids in cast(list[list[int]], row[key])) for key in ("prompts", "outputs"))
    return CommittedGguf(
        name=cast(str, row["name"]), architecture=cast(str, row["architecture"]), prompts=prompts, outputs=outputs
    )
