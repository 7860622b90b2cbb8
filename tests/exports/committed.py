"""The committed exports: small random models as public tools export them, with what greedy decoding must give.

`models/public_exports` made them. Each architecture has an archive, in which each export has a folder.
"""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

DATA = Path(__file__).parents[1] / "data" / "exports"

Origin = Literal["transformers", "uncached", "cached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export, which is a row of the matrix."""

    architecture: str
    variant: str
    """Tool and precision, such as `optimum-fp32`."""
    origin: Origin
    """What computed the reference: `models/public_exports/references.py` describes them."""
    prompts: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    """The tokens after each prompt."""

    @property
    def name(self) -> str:
        """A name for test ids and error texts."""
        return f"{self.architecture}-{self.variant}"

    def extract(self, folder: Path) -> Path:
        """Writes the files of the export to a folder; returns the model folder."""
        with tarfile.open(DATA / f"{self.architecture}.tar.xz") as archive:
            members = [member for member in archive if member.name.startswith(f"{self.variant}/")]
            archive.extractall(folder, members, filter="data")
        return folder / self.variant


def committed_exports() -> list[Export]:
    """All rows, in the order of the file that lists them."""
    rows = cast(list[dict[str, object]], json.loads((DATA / "references.json").read_text(encoding="utf-8")))
    return [_export(row) for row in rows]


def _export(row: dict[str, object]) -> Export:
    return Export(
        architecture=cast(str, row["architecture"]),
        variant=cast(str, row["variant"]),
        origin=cast(Origin, row["origin"]),
        prompts=_token_lists(row["prompts"]),
        outputs=_token_lists(row["outputs"]),
    )


def _token_lists(value: object) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(ids) for ids in cast(list[list[int]], value))
