"""`onward pull`: downloads models from the Hugging Face hub into its cache, and exports those without ONNX graphs."""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import assert_never

from onward_server.cli.progress_bars import ProgressBars
from onward_server.cli.standard_streams import drop_unwritable_stdout
from onward_server.errors import StartupError
from onward_server.exit_code import ExitCode
from onward_server.model.exporting.export_cache import ExportCache
from onward_server.model.exporting.exporter import Exporter
from onward_server.model.exporting.progress import ExportLines
from onward_server.model.exporting.wanted_export import WantedExport
from onward_server.model.source.hub import Hub
from onward_server.model.source.pull import Puller
from onward_server.model.source.pull_progress import ProgressLines
from onward_server.model.source.pulled import Pulled, PulledCheckpoint, PulledModel
from onward_server.program import program
from onward_server.settings.model_reference import HubRepository, ModelReference
from onward_server.settings.user_folders import cache_folder


def run(parsed: argparse.Namespace) -> int:
    """Downloads the models one after another and returns the exit code; failures are printed to stderr."""
    try:
        references = [_reference(text) for text in parsed.model]
    except ValueError as error:
        _say(str(error))
        return ExitCode.WRONG_USAGE
    hub = Hub.from_environment()
    has_bars = sys.stderr.isatty() and hub.shows_progress_bars()
    puller = Puller(hub, ProgressBars(_say) if has_bars else ProgressLines(_say))
    exporter = Exporter(
        ExportCache(cache_folder(parsed.cache_dir)), ProgressBars(_say) if has_bars else ExportLines(_say)
    )
    where: list[str] = [] if parsed.cache_dir is None else ["--cache-dir", os.fspath(parsed.cache_dir)]
    code = ExitCode.OK
    for text, (repository, variant) in zip(parsed.model, references, strict=True):
        try:
            folder = _folder(puller.pull(repository, variant), repository, exporter)
            _say(f"serve it with `{shlex.join([*program(), 'serve', '--model', text, *where])}`")
            _print(folder)
        except StartupError as error:
            _say(str(error))
            code = ExitCode.FAILED
        except BrokenPipeError:
            drop_unwritable_stdout()
            code = ExitCode.FAILED
        except KeyboardInterrupt:
            _say("interrupted; the downloaded part is kept, and the same command continues from there")
            return ExitCode.INTERRUPTED
    return code


def _folder(pulled: Pulled, repository: HubRepository, exporter: Exporter) -> Path:
    """The folder to serve."""
    match pulled:
        case PulledModel():
            return pulled.folder
        case PulledCheckpoint():
            return exporter.exported(partial(WantedExport.of_pulled, pulled, repository), again=pulled.is_repaired)
        case _:
            assert_never(pulled)


def _reference(text: str) -> tuple[HubRepository, str | None]:
    """The repository and the variant.

    Raises:
        ValueError: The text is not the name of a repository.
    """
    reference = ModelReference.parse(text)
    match reference.location:
        case HubRepository() as repository:
            return repository, reference.variant
        case path:
            what = "exists here and needs no download" if path.exists() else "is not the name of a repository"
            raise ValueError(f"{text!r} {what}; use OWNER/NAME[@REVISION][:VARIANT]")


def _print(path: Path) -> None:
    """Prints the bytes of a path, which need not be valid text."""
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"onward: {line}\n")
    sys.stderr.flush()
