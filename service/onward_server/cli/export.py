"""`onward export`: writes a checkpoint or a GGUF file as an ONNX folder."""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from onward_server.cli.progress_bars import ProgressBars
from onward_server.cli.standard_streams import drop_unwritable_stdout
from onward_server.errors import StartupError
from onward_server.exit_code import ExitCode
from onward_server.export.exporter import export_model
from onward_server.model.exporting.progress import ExportLines
from onward_server.model.source.pull_progress import size
from onward_server.program import program


class _Terminated(BaseException):
    """SIGTERM or SIGHUP has arrived. It is raised so that the export removes its files before the process ends."""


def run(parsed: argparse.Namespace) -> int:
    """Exports one model and returns the exit code; a failure is printed to stderr in one line."""
    progress = ProgressBars(_say) if sys.stderr.isatty() else ExportLines(_say)
    output: Path = parsed.output
    started_s = time.monotonic()
    try:
        with _signals_raise():
            num_bytes = export_model(parsed.source, output, parsed.precision, progress)
    except StartupError as error:
        _say(str(error))
        return ExitCode.FAILED
    except MemoryError:
        _say("the memory is exhausted; an export needs 1 GiB and 1.5 times its largest tensor. Nothing was kept")
        return ExitCode.FAILED
    except KeyboardInterrupt:
        _say("interrupted; nothing was kept")
        return ExitCode.INTERRUPTED
    except _Terminated:
        _say("terminated; nothing was kept")
        return ExitCode.TERMINATED
    _say(f"wrote {num_bytes:,} bytes ({size(num_bytes)}) in {time.monotonic() - started_s:.1f} s")
    _say(f"serve it with `{shlex.join([*program(), 'serve', '--model', os.fspath(output)])}`")
    return _print(output)


@contextmanager
def _signals_raise() -> Generator[None]:
    """Raises `_Terminated` on SIGTERM and SIGHUP, unless they are ignored, as under `nohup`."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise _Terminated

    handled = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, terminate) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(path: Path) -> int:
    """Prints the bytes of a path, and returns the exit code."""
    try:
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.flush()
    except OSError as error:
        drop_unwritable_stdout()
        _say(f"the folder was written, but its name cannot be printed to stdout: {error.strerror}")
        return ExitCode.FAILED
    return ExitCode.OK


def _say(line: str) -> None:
    """Prints a line to stderr. An export goes on if nobody reads it any more."""
    with suppress(OSError):
        sys.stderr.write(f"onward: {line}\n")
        sys.stderr.flush()
