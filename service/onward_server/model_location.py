"""Finds the graph of a model. Downloads a repository and exports a checkpoint or GGUF file, once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onward_server.errors import HubError
from onward_server.loading_steps import LoadingSteps
from onward_server.model.exporting.export_cache import ExportCache
from onward_server.model.exporting.exporter import Exporter
from onward_server.model.exporting.progress import ExportLines
from onward_server.model.exporting.wanted_export import WantedExport
from onward_server.model.source.choice import Choice
from onward_server.model.source.located_checkpoint import find_checkpoint
from onward_server.model.source.pull_progress import ProgressLines
from onward_server.model.source.pulled import Pulled, PulledCheckpoint
from onward_server.settings.model_reference import HubRepository, ModelReference

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """Where the graph of a model is on this machine."""

    path: Path
    """A folder or an ONNX file."""
    variant: str | None
    """Which graph of a folder: see `choose_graph`."""
    choice: Choice | None = None
    """How the graph was chosen in its repository; None: it is not from a repository."""
    reason: str | None = None
    """What the graph was exported from; None: the server has not exported it."""


class ModelFinder:
    """Finds the graphs of models."""

    def __init__(self, exports: ExportCache, steps: LoadingSteps) -> None:
        """Takes the cache of exports, and reports the steps."""
        self._exports = exports
        self._steps = steps

    def find(self, reference: ModelReference) -> ModelLocation:
        """Finds the graph of a model. Takes minutes if it is downloaded or exported.

        Raises:
            HubError: The repository is not in the cache and cannot be downloaded.
            ModelFolderError: There is nothing that can be served or exported.
            ExportError: The checkpoint or GGUF file cannot be exported.
        """
        match reference.location:
            case Path() as path:
                return self._local(reference, path)
            case HubRepository() as repository:
                pulled = self._pulled(reference, repository)
                if isinstance(pulled, PulledCheckpoint):
                    return self._exported(reference.model_id, partial(WantedExport.of_pulled, pulled, repository))
                return ModelLocation(path=pulled.folder, variant=pulled.choice.graph.path, choice=pulled.choice)

    def _local(self, reference: ModelReference, path: Path) -> ModelLocation:
        checkpoint = find_checkpoint(path, reference.variant)
        if checkpoint is None:
            return ModelLocation(path=path, variant=reference.variant)
        return self._exported(reference.model_id, partial(WantedExport.of_local, checkpoint, str(path)))

    def _exported(self, model_id: str, read: Callable[[], WantedExport]) -> ModelLocation:
        wanted = read()
        progress = ExportLines(partial(logger.info, "model %s: %s", model_id))
        with self._steps.step(f"{model_id}: exporting {wanted.shown} as {wanted.precision}"):
            folder = Exporter(self._exports, progress).exported(read)
        return ModelLocation(path=folder, variant=None, reason=wanted.reason)

    def _pulled(self, reference: ModelReference, repository: HubRepository) -> Pulled:
        from onward_server.model.source.hub import Hub  # noqa: PLC0415  imports huggingface-hub
        from onward_server.model.source.pull import Puller  # noqa: PLC0415  the same

        progress = ProgressLines(partial(logger.info, "model %s: %s", reference.model_id))
        with self._steps.step(f"{reference.model_id}: getting {repository}"):
            try:
                return Puller(Hub.from_environment(), progress).pull_unless_cached(repository, reference.variant)
            except HubError as error:
                folder = f"{repository.owner}/{repository.name}"
                raise HubError(f"{error} (there is no folder {folder} here)") from error
