"""Exports a model in the process that `model/exporting/exporter` starts."""

import os
from collections.abc import Sequence
from pathlib import Path

from onward_server.export.exporter import export_model
from onward_server.model.exporting.job import ExportJob
from onward_server.model.exporting.reports import ReportedProgress


def run_in_child(arguments: Sequence[str], data: bytes) -> bytes:
    """Does an `ExportJob`, and reports its progress to the descriptor whose number is the last argument.

    Raises:
        StartupError: The model cannot be exported.
    """
    job = ExportJob.from_bytes(data)
    with os.fdopen(int(arguments[-1]), "w", encoding="utf-8") as stream:
        export_model(Path(job.source), Path(job.output), job.precision, ReportedProgress(stream))
    return b""
