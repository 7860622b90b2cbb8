"""Makes all exports and their references, and packs them into `tests/data/exports`.

Two environments are needed, because the tools want different versions of transformers. From the root of the repository:

    python3 -m venv build/optimum && build/optimum/bin/pip install -r models/public_exports/requirements-optimum.txt
    python3 -m venv build/builder && build/builder/bin/pip install -r models/public_exports/requirements-builder.txt
    build/optimum/bin/python -m models.public_exports --builder build/builder/bin/python

It takes half an hour on two processors, nearly all of it for the references. `--work FOLDER` keeps checkpoints and
exports, and what is there already is not made again; `--only ARCHITECTURE` makes some of them.
"""

import argparse
import json
import logging
import shutil
import subprocess
from pathlib import Path

from models.public_exports.architectures import ARCHITECTURES
from models.public_exports.checkpoints import write_checkpoint
from models.public_exports.packing import pack
from models.public_exports.references import reference_of
from models.public_exports.rows import ROWS
from models.public_exports.transformers_js import FILE_NAMES, write_quantized
from models.public_exports.with_optimum import export_with_optimum

_REPOSITORY = Path(__file__).parents[2]
_BUILDER = Path(__file__).with_name("with_builder.py")
_DATA = _REPOSITORY / "tests" / "data" / "exports"

logger = logging.getLogger(__name__)


def main() -> None:
    """Makes what is missing, and packs the architectures that were asked for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builder", required=True, help="Python of the environment with onnxruntime-genai")
    parser.add_argument("--work", type=Path, default=_REPOSITORY / "build" / "public_exports")
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ARCHITECTURE")
    arguments = parser.parse_args()
    _DATA.mkdir(parents=True, exist_ok=True)
    listed = _DATA / "references.json"
    rows = {
        (row["architecture"], row["variant"]): row
        for row in (json.loads(listed.read_text()) if listed.exists() else [])
    }
    for architecture in arguments.only:
        logger.info("%s", architecture)
        folders = _exports(architecture, arguments.work, arguments.builder)
        references = _references(architecture, folders, arguments.work)
        rows |= {(architecture, variant): reference for variant, reference in references.items()}
        pack(folders.items(), _DATA / f"{architecture}.tar.xz")
    ordered = [rows[architecture, variant] for architecture in ROWS for variant in ROWS[architecture]]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in ordered)
    listed.write_text(f"[\n{lines}\n]\n")


def _exports(architecture: str, work: Path, builder: str) -> dict[str, Path]:
    """The folder of each variant, made where it is missing."""
    checkpoint = work / "checkpoints" / architecture
    if not checkpoint.exists():
        write_checkpoint(architecture, checkpoint)
    folders = {variant: work / architecture / variant for variant in ROWS[architecture]}
    missing = [variant for variant, folder in folders.items() if not folder.exists()]
    by_builder = [
        f"{checkpoint}:{name.removeprefix('builder-')}:{folders[name]}" for name in missing if "builder" in name
    ]
    if by_builder:
        subprocess.run([builder, _BUILDER, *by_builder], check=True)  # noqa: S603
    if "optimum-fp32" in missing:
        export_with_optimum(checkpoint, folders["optimum-fp32"])
    for name in missing:
        if name.startswith("js-"):
            variant = name.removeprefix("js-")
            write_quantized(
                folders["optimum-fp32"] / "model.onnx", variant, folders[name] / "onnx" / FILE_NAMES[variant]
            )
            for file in folders["optimum-fp32"].glob("*.json"):
                shutil.copy(file, folders[name])
    return folders


def _references(architecture: str, folders: dict[str, Path], work: Path) -> dict[str, dict[str, object]]:
    kept = work / "references"
    kept.mkdir(exist_ok=True)
    references: dict[str, dict[str, object]] = {}
    for variant, folder in folders.items():
        file = kept / f"{architecture}-{variant}.json"
        if not file.exists():
            found = reference_of(
                ARCHITECTURES[architecture], architecture, variant, folder, work / "checkpoints" / architecture
            )
            file.write_text(json.dumps({"architecture": architecture, "variant": variant, **found}))
        references[variant] = json.loads(file.read_text())
    return references


if __name__ == "__main__":
    main()
