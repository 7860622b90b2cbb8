"""Makes the checkpoints and their references, and packs them into `tests/data/checkpoints`.

From the root of the repository:

    python3 -m venv build/checkpoints && build/checkpoints/bin/pip install -r models/checkpoints/requirements.txt
    build/checkpoints/bin/python -m models.checkpoints

It takes ten minutes on two processors. `--work FOLDER` keeps the checkpoints, and what is there already is not made
again; `--only NAME` makes some of them.
"""

import argparse
import json
import logging
from pathlib import Path

from models.checkpoints.architectures import CHECKPOINTS, Checkpoint
from models.checkpoints.weights import write_checkpoint
from models.public_exports.packing import pack
from models.public_exports.references import greedy_reference, transformers_forward

_REPOSITORY = Path(__file__).parents[2]
_DATA = _REPOSITORY / "tests" / "data" / "checkpoints"
_KEPT = ("*.json", "*.safetensors")
_MARGIN = 0.0005
"""In parts of the range of the logits: rounding changes less, so a difference is an error and not a tie."""

logger = logging.getLogger(__name__)


def main() -> None:
    """Makes what is missing, and packs what was asked for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=_REPOSITORY / "build" / "checkpoint_folders")
    parser.add_argument("--only", nargs="+", default=list(CHECKPOINTS), choices=list(CHECKPOINTS), metavar="NAME")
    arguments = parser.parse_args()
    _DATA.mkdir(parents=True, exist_ok=True)
    listed = _DATA / "references.json"
    rows = {row["name"]: row for row in (json.loads(listed.read_text()) if listed.exists() else [])}
    for name in arguments.only:
        logger.info("%s", name)
        folder = arguments.work / name
        if not folder.exists():
            write_checkpoint(name, CHECKPOINTS[name], folder)
        rows[name] = _row(name, CHECKPOINTS[name], folder)
        pack([(name, folder)], _DATA / f"{name}.tar.xz", _KEPT)
    lines = ",\n".join(json.dumps(rows[name], separators=(",", ":")) for name in CHECKPOINTS if name in rows)
    listed.write_text(f"[\n{lines}\n]\n")


def _row(name: str, checkpoint: Checkpoint, folder: Path) -> dict[str, object]:
    found = greedy_reference(name, transformers_forward(folder, "eager"), _MARGIN, checkpoint.prompt_lengths)
    return {"name": name, "model_type": checkpoint.model_type, **found}


if __name__ == "__main__":
    main()
