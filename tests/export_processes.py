"""Processes in place of the one that exports. The name of the source says what they do."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onward_server.errors import ExportError
from onward_server.model.exporting.job import ExportJob
from onward_server.model.exporting.reports import ReportedProgress

CALLS = "calls"
"""A file beside the source that counts exports."""


def run_in_child(arguments: Sequence[str], data: bytes) -> bytes:
    """Does what the job says, and counts its calls in a file."""
    job = ExportJob.from_bytes(data)
    source = Path(job.source)
    with (source.parent / CALLS).open("a") as calls:
        calls.write("x")
    with os.fdopen(int(arguments[-1]), "w", encoding="utf-8") as stream:
        BEHAVIORS[source.name](job, ReportedProgress(stream))
    return b""


def _export(job: ExportJob, progress: ReportedProgress) -> None:
    """Writes a folder that shows what it was made from."""
    progress.note("reading")
    output = Path(job.output)
    staging = output.with_name(f".{output.name}.onward-export")
    staging.mkdir()
    with progress.weights(3 << 20) as advance:
        for _ in range(3):
            advance(1 << 20)
    weights = b"".join(path.read_bytes() for path in sorted(Path(job.source).glob("*.safetensors")))
    (staging / "model.onnx").write_bytes(weights + job.precision.encode())
    staging.rename(output)


def _change_source(job: ExportJob, progress: ReportedProgress) -> None:
    _export(job, progress)
    with (Path(job.source) / "model.safetensors").open("ab") as weights:
        weights.write(b"more")


def _refuse(_: ExportJob, __: ReportedProgress) -> None:
    raise ExportError("there is no such architecture")


def _fill_disk(job: ExportJob, _: ReportedProgress) -> None:
    raise ExportError(f"the disk of {job.output} is full; free some space")


def _crash(job: ExportJob, progress: ReportedProgress) -> None:
    """Ends halfway."""
    Path(job.output).with_name(f".{Path(job.output).name}.onward-export").mkdir()
    with progress.weights(100 << 20) as advance:
        advance(50 << 20)
        os.kill(os.getpid(), signal.SIGSEGV)


def _hoard(_: ExportJob, __: ReportedProgress) -> None:
    raise MemoryError


def _write_until_killed(job: ExportJob, progress: ReportedProgress) -> None:
    staging = Path(job.output).with_name(f".{Path(job.output).name}.onward-export")
    staging.mkdir()
    (staging / "model.onnx.data").write_bytes(b"half")
    progress.note("halfway")
    time.sleep(60)


BEHAVIORS: Mapping[str, Callable[[ExportJob, ReportedProgress], None]] = {
    "model": _export,
    "change": _change_source,
    "refuse": _refuse,
    "fill disk": _fill_disk,
    "crash": _crash,
    "hoard": _hoard,
    "halfway": _write_until_killed,
}
