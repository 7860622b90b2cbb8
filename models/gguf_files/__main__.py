"""Makes the files and their references in `tests/data/gguf`.

From the root of the repository, in the environment of `models/checkpoints` with gguf 0.19.0:

    build/checkpoints/bin/python -m models.gguf_files

A reference is what transformers gives for the dequantized weights. Where transformers reads the weights of the
architecture from GGUF itself, it must give the same logits for the file. `--only NAME` makes some of the files.
"""

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from models.checkpoints.architectures import Checkpoint
from models.checkpoints.weights import random_model
from models.gguf_files.cases import CASES, Case
from models.gguf_files.writing import write_gguf
from models.public_exports.packing import pack
from models.public_exports.references import greedy_reference, transformers_forward

_DATA = Path(__file__).parents[2] / "tests" / "data" / "gguf"
_LENGTHS = (1, 2, 7, 16, 33, 65, 130, 200)
_MARGIN = 0.0005
"""In parts of the range of the logits: rounding changes less, so a difference is an error and not a tie."""

logger = logging.getLogger(__name__)


def main() -> None:
    """Makes what was asked for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES), metavar="NAME")
    arguments = parser.parse_args()
    _DATA.mkdir(parents=True, exist_ok=True)
    listed = _DATA / "references.json"
    rows = {row["name"]: row for row in (json.loads(listed.read_text()) if listed.exists() else [])}
    for name in arguments.only:
        logger.info("%s", name)
        rows[name] = _make(name, CASES[name])
    lines = ",\n".join(json.dumps(rows[name], separators=(",", ":")) for name in CASES if name in rows)
    listed.write_text(f"[\n{lines}\n]\n")


def _make(name: str, case: Case) -> dict[str, object]:
    model = random_model(name, Checkpoint(model_type=case.model_type, settings=case.configuration))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        file = folder / f"{name}.gguf"
        write_gguf(case, model, file)
        pack([(name, folder)], _DATA / f"{name}.tar.xz", ["*.gguf"])
        model.save_pretrained(folder / "checkpoint")
        forward = transformers_forward(folder / "checkpoint", "eager")
        if case.is_read_by_transformers:
            _require_same_logits(model, file)
        found = greedy_reference(name, forward, _MARGIN, _LENGTHS)
    return {"name": name, "architecture": case.architecture, **found}


def _require_same_logits(model: PreTrainedModel, file: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, config=model.config, attn_implementation="eager", dtype=torch.float32
    ).eval()
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 40)))
    with torch.no_grad():
        expected, found = (each(ids, use_cache=False).logits.numpy() for each in (model, read))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


if __name__ == "__main__":
    main()
