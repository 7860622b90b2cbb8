"""Downloads a model from the Hugging Face hub: one graph of one commit, and the files that describe it."""

import errno
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from onward_server.errors import HubError, ModelFolderError
from onward_server.model.source.access import list_files
from onward_server.model.source.choice import Choice, choose_graph
from onward_server.model.source.commit_files import CommitFiles
from onward_server.model.source.description import decoder_named_by
from onward_server.model.source.download import Downloader
from onward_server.model.source.export_choice import ExportChoice, choose_export
from onward_server.model.source.hub import Hub
from onward_server.model.source.hub_cache import HubCache
from onward_server.model.source.needed_files import data_files, descriptions, require_complete_checkpoint
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.pull_progress import PullProgress
from onward_server.model.source.pulled import Pulled, PulledCheckpoint, PulledModel
from onward_server.model.source.retries import Retries
from onward_server.settings.model_reference import HubRepository

_DEFAULT_BRANCH = "main"


class Puller:
    """Downloads models from one hub."""

    def __init__(self, hub: Hub, progress: PullProgress, pause: Callable[[float], None] = time.sleep) -> None:
        """Sends nothing yet. `pause` sleeps for some seconds before a request is repeated."""
        self._hub = hub
        self._progress = progress
        self._pause = pause

    def pull(self, repository: HubRepository, variant: str | None) -> Pulled:
        """Downloads the current commit of the revision, and checks the hashes of files that are in the cache already.

        In offline mode, returns the cached model.

        Raises:
            HubError: The model cannot be downloaded.
            ModelFolderError: The repository has no graph that can be chosen, or the graph cannot be read.
        """
        if self._hub.is_offline:
            return self._cached_only(repository, variant)
        with self._writing():
            commit = self._commit_of(repository)
            return self._complete(repository, variant, commit, self._retries(), check=True)

    def pull_unless_cached(self, repository: HubRepository, variant: str | None) -> Pulled:
        """Returns the commit that is in the cache, or else downloads the current one.

        A cached model needs no hub. A note says if the hub cannot be reached, or if the revision has moved to another
        commit.

        Raises:
            HubError: The model is not in the cache and cannot be downloaded.
            ModelFolderError: The repository has no graph that can be chosen, or the graph cannot be read.
        """
        if self._hub.is_offline:
            return self._cached_only(repository, variant)
        cached = self._cached(repository, variant)
        if cached is None:
            with self._writing():
                commit = self._commit_of(repository)
                return self._complete(repository, variant, commit, self._retries(), check=False)
        if cached.commit == repository.revision and (variant or _is_most_preferred(cached)):
            return cached
        try:
            commit = self._hub.commit_of(_repo(repository), _revision(repository))
            if commit == cached.commit:
                no_retries = Retries(note=self._progress.note, waits_s=())
                with self._writing():
                    return self._complete(repository, variant, commit, no_retries, check=False)
        except HubError as error:
            self._progress.note(f"{error}; using commit {cached.commit} of {repository}, which is in the cache")
        else:
            self._progress.note(
                f"{repository} has moved to commit {commit}; using commit {cached.commit}, which is in the cache. "
                f"`onward pull {repository}` downloads the new one"
            )
        return cached

    def _commit_of(self, repository: HubRepository) -> str:
        return self._retries().until_answered(lambda: self._hub.commit_of(_repo(repository), _revision(repository)))

    def _retries(self) -> Retries:
        return Retries(note=self._progress.note, pause=self._pause)

    def _complete(
        self, repository: HubRepository, variant: str | None, commit: str, retries: Retries, *, check: bool
    ) -> Pulled:
        """Downloads the files of the model that are not in the cache."""
        repo = _repo(repository)
        listed = retries.until_answered(lambda: self._hub.files(repo, commit))
        cache = HubCache(self._hub.cache_folder, repo)
        downloader = Downloader(self._hub, cache, self._progress, retries, repo=repo, commit=commit)
        files = CommitFiles(listed, downloader, cache, commit=commit, source=str(repository), check=check)
        choice = self._get(files, repository, commit, variant)
        if not downloader.num_downloaded:
            self._progress.note(f"{repository}: all files are in the cache")
        with suppress(ValueError):  # a name that no branch has, which some hubs resolve
            cache.set_commit(_revision(repository), commit)
        folder = cache.snapshot(commit)
        if isinstance(choice, Choice):
            return PulledModel(commit=commit, folder=folder, choice=choice)
        is_repaired = downloader.num_repaired > 0
        return PulledCheckpoint(commit=commit, folder=folder, choice=choice, is_repaired=is_repaired)

    def _get(
        self, files: CommitFiles, repository: HubRepository, commit: str, variant: str | None
    ) -> Choice | ExportChoice:
        """Chooses a graph or a checkpoint, and downloads it."""
        export = choose_export(files.sizes, source=str(repository), wanted=variant)
        if export is None:
            choice = files.choose_graph(variant)
            self._progress.note(f"{repository}: taking {choice.graph.path} of commit {commit}: {choice.reason}")
            files.get_graph(choice.graph.path)
            return choice
        taken = export.gguf_files[0] if export.gguf_files else "the safetensors files"
        self._progress.note(f"{repository}: taking {taken} of commit {commit}, to export them as {export.precision}")
        files.get_checkpoint(export)
        return export

    def _cached(self, repository: HubRepository, variant: str | None) -> Pulled | None:
        """The model in the cache; None if it is not there or not complete."""
        cache = HubCache(self._hub.cache_folder, _repo(repository))
        commit = cache.commit_of(_revision(repository))
        if commit is None:
            return None
        folder, source = cache.snapshot(commit), str(repository)
        try:
            files = {path: num_bytes for path, num_bytes in list_files(folder).items() if (folder / path).exists()}
            export = choose_export(files, source=source, wanted=variant)
            if export is not None:
                require_complete_checkpoint(export, folder, files, source=source)
                return PulledCheckpoint(commit=commit, folder=folder, choice=export)
            choice = choose_graph(
                files, source=source, wanted=variant, named_by_genai=lambda path: decoder_named_by(folder / path)
            )
            graph = choice.graph.path
            descriptions(graph, files, source=source)
            data_files(graph, OnnxFile.read(folder / graph), files, source=source)
        except ModelFolderError:
            return None
        return PulledModel(commit=commit, folder=folder, choice=choice)

    def _cached_only(self, repository: HubRepository, variant: str | None) -> Pulled:
        found = self._cached(repository, variant)
        if found is None:
            wanted = f"{repository}{f':{variant}' if variant else ''}"
            raise HubError(
                f"HF_HUB_OFFLINE is set, and {self._hub.cache_folder} does not have all files of {wanted}; unset "
                f"HF_HUB_OFFLINE, or run `onward pull {wanted}` where the hub can be reached"
            )
        self._progress.note(
            f"HF_HUB_OFFLINE is set; using commit {found.commit} of {repository}, which is in the cache"
        )
        return found

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Converts errors of writing the cache."""
        try:
            yield
        except OSError as error:
            raise HubError(_unwritable(self._hub.cache_folder, error)) from error


def _is_most_preferred(cached: Pulled) -> bool:
    """Whether no other file of the repository could be preferred to it."""
    return isinstance(cached, PulledModel) and cached.choice.graph.is_most_preferred


def _repo(repository: HubRepository) -> str:
    return f"{repository.owner}/{repository.name}"


def _revision(repository: HubRepository) -> str:
    return repository.revision or _DEFAULT_BRANCH


def _unwritable(cache: Path, error: OSError) -> str:
    path = Path(error.filename) if isinstance(error.filename, str) else cache
    remedy = "set HF_HOME to a folder that can be written"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return (
                f"the disk of {cache} is full: {error.strerror}; free some space, or set HF_HOME to a folder on "
                "another disk. The downloaded part is kept"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"uid {os.geteuid()} may not write {path}: {error.strerror}; {remedy}"
        case _:
            return f"cannot write {path}: {error.strerror or error}; {remedy}"
