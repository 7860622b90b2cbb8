"""Exports checkpoints with the builder of onnxruntime-genai: run in the environment of `requirements-builder.txt`.

Usage: python with_builder.py CHECKPOINT:VARIANT:FOLDER ...

The modules of the builder import each other by their bare names, so their folder must be on the path; and one process
exports all, because importing PyTorch takes longer than an export.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

_VARIANTS: dict[str, tuple[str, list[str]]] = {
    "fp32": ("fp32", []),
    "fp32-full-window": ("fp32", ["windowed_kv_cache=false"]),
    "fp32-pruned": ("fp32", ["prune_lm_head=true"]),
    "int4": ("int4", ["int4_accuracy_level=4"]),
    "int4-default": ("int4", []),
    "int4-pruned": ("int4", ["int4_accuracy_level=4", "prune_lm_head=true"]),
    "int8": ("int8", []),
}
"""The precision and the options of each variant."""
_COPIED = ("config.json", "generation_config.json")
"""Files of a checkpoint that people put beside the builder's own."""


def main() -> None:
    """Exports what the arguments name."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before the builder loads ONNX Runtime
    package = importlib.util.find_spec("onnxruntime_genai")
    assert package is not None
    assert package.origin is not None
    sys.path.insert(0, str(Path(package.origin).parent / "models"))
    import builder  # noqa: PLC0415

    for argument in sys.argv[1:]:
        checkpoint, variant, folder = argument.split(":")
        precision, options = _VARIANTS[variant]
        target = (None, checkpoint, folder, precision, "cpu", f"{folder}/.cache")
        builder.create_model(*target, **builder.parse_extra_options(*target, options))
        shutil.rmtree(f"{folder}/.cache", ignore_errors=True)
        for name in _COPIED:
            shutil.copy(Path(checkpoint, name), folder)


if __name__ == "__main__":
    main()
