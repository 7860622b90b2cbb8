"""Exports a checkpoint with Optimum, as its command does."""

from pathlib import Path

from optimum.exporters.onnx import main_export


def export_with_optimum(checkpoint: Path, folder: Path) -> None:
    """Writes `model.onnx` with the configuration and the tokenizer beside it."""
    main_export(str(checkpoint), folder, task="text-generation-with-past", do_validation=False)
