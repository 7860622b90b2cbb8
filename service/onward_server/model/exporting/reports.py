"""Carries the progress of an export from its process to the one that started it: a line of JSON for each step."""

import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TextIO

from onward_server.json_value import Json
from onward_server.model.exporting.progress import ExportProgress
from onward_server.model.source.pull_progress import Advance

_MIN_ADVANCE = 1 << 20
"""Bytes that are reported together."""


class ReportedProgress:
    """Writes what an export does, in its process."""

    def __init__(self, stream: TextIO) -> None:
        """Writes lines to a stream."""
        self._stream = stream

    def note(self, text: str) -> None:
        """See `ExportProgress.note`."""
        self._write(["note", text])

    @contextmanager
    def weights(self, num_bytes: int) -> Generator[Advance]:
        """See `ExportProgress.weights`."""
        self._write(["weights", num_bytes])
        unreported = 0

        def advance(more: int) -> None:
            nonlocal unreported
            unreported += more
            if unreported >= _MIN_ADVANCE:
                self._write(["advance", unreported])
                unreported = 0

        yield advance
        self._write(["advance", unreported])
        self._write(["written"])

    def _write(self, report: list[Json]) -> None:
        self._stream.write(json.dumps(report) + "\n")
        self._stream.flush()


class ReportReader:
    """Shows the steps that another process reports."""

    def __init__(self, progress: ExportProgress, on_weights: Callable[[int], None], stack: ExitStack) -> None:
        """Creates a reader.

        Args:
            progress: Shows the steps.
            on_weights: Called with the size of all weights in bytes, before they are written.
            stack: Ends what is shown, if the process fails in between.
        """
        self._progress = progress
        self._on_weights = on_weights
        self._weights = stack
        self._advance: Advance = lambda _: None

    def receive(self, line: str) -> None:
        """Shows a step.

        Raises:
            ValueError: The line is not a report.
        """
        report: Json = json.loads(line)
        match report:
            case ["note", str(text)]:
                self._progress.note(text)
            case ["weights", int(num_bytes)]:
                self._on_weights(num_bytes)
                self._advance = self._weights.enter_context(self._progress.weights(num_bytes))
            case ["advance", int(more)]:
                self._advance(more)
            case ["written"]:
                self._weights.close()
            case _:
                raise ValueError(f"{line[:100]!r} is not a report of an export")
