"""Finds exports in the cache, or starts a process that makes them: see decision 0036."""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from onward_server.errors import ExportError
from onward_server.model.bounded.process import (
    ChildFailed,
    ChildOutOfMemory,
    ChildRefused,
    ChildTooSlow,
    Limits,
    run_bounded,
)
from onward_server.model.exporting.export_cache import ExportCache
from onward_server.model.exporting.job import ExportJob
from onward_server.model.exporting.progress import ExportProgress
from onward_server.model.exporting.reports import ReportReader
from onward_server.model.exporting.wanted_export import WantedExport
from onward_server.model.memory import available_memory, size_text

logger = logging.getLogger(__name__)

_PROCESS = "onward_server.export.process"
_BASE_MEMORY, _BASE_S = 2 << 30, 300
_MEMORY_PER_BYTE = 2
_S_PER_GIB = 600


class Exporter:
    """Exports models for one server or command."""

    def __init__(self, cache: ExportCache, progress: ExportProgress, *, process: str = _PROCESS) -> None:
        """Creates an exporter. `process` is the module whose `run_in_child` does an `ExportJob`."""
        self._cache = cache
        self._progress = progress
        self._process = process

    def exported(self, read: Callable[[], WantedExport], *, again: bool = False) -> Path:
        """The folder of an export, which is made unless it is in the cache.

        Args:
            read: Identifies the export by its files as they are now.
            again: Whether to make it even if it is in the cache.

        Raises:
            ExportError: It cannot be made or kept. Nothing of it was kept.
        """
        wanted = read()
        found = None if again else self._cache.find(wanted)
        if found is not None:
            return found
        with self._cache.writing(self._progress.note) as folder:
            found = None if again else self._cache.find(wanted)  # another process may have made it
            if found is not None:
                return found
            self._cache.remove(wanted.name)
            self._run(wanted, folder / wanted.name)
            if read() != wanted:
                raise ExportError(f"{wanted.shown} has changed while it was exported; start again")
            return self._cache.keep(wanted)

    def _run(self, wanted: WantedExport, output: Path) -> None:
        by_default = ""
        if wanted.is_default:
            by_default = f", the default ({wanted.shown}:VARIANT chooses {', '.join(wanted.other_precisions)})"
        self._progress.note(
            f"exporting {wanted.path} as {wanted.precision}{by_default}, which is done once for a model"
        )
        job = ExportJob(source=str(wanted.path), output=str(output), precision=wanted.precision)
        try:
            with ExitStack() as stack:
                reader = ReportReader(self._progress, self._note_lack_of_memory, stack)
                limits = _limits(wanted.num_bytes)
                run_bounded(self._process, [], limits, data=job.to_bytes(), on_report=reader.receive)
        except ChildFailed as error:
            raise ExportError(_failure(wanted, output, error)) from error

    def _note_lack_of_memory(self, num_bytes: int) -> None:
        available = available_memory()
        if available is not None and num_bytes > available.num_bytes:
            self._progress.note(
                f"the weights take {size_text(num_bytes)}, but {available.limit} leaves "
                f"{size_text(available.num_bytes)}; a smaller precision would fit better"
            )


def _limits(num_bytes: int) -> Limits:
    memory_bytes = _BASE_MEMORY + _MEMORY_PER_BYTE * num_bytes
    wall_s = round(_BASE_S + _S_PER_GIB * num_bytes / 2**30)
    available = available_memory()
    return Limits(
        memory_bytes=min(memory_bytes, available.num_bytes) if available else memory_bytes,
        processor_s=wall_s * (os.cpu_count() or 1),
        wall_s=wall_s,
    )


def _failure(wanted: WantedExport, output: Path, error: ChildFailed) -> str:
    match error:
        case ChildRefused():
            text = str(error)
            named = f" (exports are kept in {output.parent}, which --cache-dir sets)"
            return text + named if str(output.parent) in text else text
        case ChildOutOfMemory():
            remedy = "raise the limit, or export it with `onward export` on a larger machine"
        case ChildTooSlow():
            remedy = "export it with `onward export`, which has no limit"
        case _:
            remedy = f"try `onward export {wanted.path} OUTPUT`, and serve OUTPUT"
    return f"exporting {wanted.path} failed: {error}; {remedy}"
