"""The files of one commit on the hub, downloaded when they are needed."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from onward_server.model.source.choice import Choice, choose_graph
from onward_server.model.source.description import decoder_named_by
from onward_server.model.source.download import Downloader
from onward_server.model.source.export_choice import INDEX, WEIGHTS, ExportChoice
from onward_server.model.source.graph_kinds import require_causal_decoder
from onward_server.model.source.hub_cache import HubCache
from onward_server.model.source.json_file import JsonObject, read_json_object
from onward_server.model.source.needed_files import checkpoint_files, data_files, descriptions, gguf_parts, licenses
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.remote_file import RemoteFile


class CommitFiles:
    """Downloads what a model needs, and links it in the snapshot of the commit when all of it is there."""

    def __init__(
        self,
        files: Iterable[RemoteFile],
        downloader: Downloader,
        cache: HubCache,
        *,
        commit: str,
        source: str,
        check: bool,
    ) -> None:
        """Downloads nothing yet.

        Args:
            files: All files of the commit.
            downloader: Downloads into the cache.
            cache: The cache of the repository.
            commit: Hash of the commit.
            source: The repository, for error texts.
            check: Whether to check the hashes of files that are in the cache already.
        """
        self._files = {file.path: file for file in files}
        self._downloader = downloader
        self._cache = cache
        self._commit = commit
        self._source = source
        self._check = check

    @property
    def sizes(self) -> Mapping[str, int]:
        """Maps the path of each file to its size in bytes."""
        return {path: file.num_bytes for path, file in self._files.items()}

    def choose_graph(self, variant: str | None) -> Choice:
        """See `choose_graph`; downloads a genai_config.json if there is one."""
        return choose_graph(
            self.sizes,
            source=self._source,
            wanted=variant,
            named_by_genai=lambda path: decoder_named_by(self._content(path)),
        )

    def get_graph(self, graph: str) -> None:
        """Downloads a graph, its data and the files that describe the model.

        Raises:
            ModelFolderError: A file is missing or malformed, or the graph is of another kind. The latter is checked
                before its data are downloaded.
        """
        described = descriptions(graph, self._files, source=self._source)
        needed = self._get(described)
        onnx_file = OnnxFile.read(self._content(graph))
        configs = [
            read_json_object(self._content(path)) for path in described if PurePosixPath(path).name == "config.json"
        ]
        require_causal_decoder(Path(self._source) / graph, onnx_file, configs[-1] if configs else {})
        needed += self._get(data_files(graph, onnx_file, self._files, source=self._source))
        self._cache.link(self._commit, [*needed, self._files[graph]])  # in this order: a snapshot with a graph is whole

    def get_checkpoint(self, choice: ExportChoice) -> None:
        """Downloads GGUF files, or the weights of a checkpoint and the files that describe it.

        Raises:
            ModelFolderError: A file is missing or malformed.
        """
        if choice.gguf_files:
            weights = gguf_parts(choice, self._files, source=self._source)
        else:
            index: JsonObject = {} if WEIGHTS in self._files else read_json_object(self._content(INDEX))
            weights = checkpoint_files(index, self._files, source=self._source)
        needed = self._get([*licenses(self._files), *weights])
        self._cache.link(self._commit, needed)  # in this order: the last one is what `choose_export` looks for

    def _get(self, paths: Iterable[str]) -> list[RemoteFile]:
        wanted = [self._files[path] for path in paths]
        self._downloader.get(wanted, check=self._check)
        return wanted

    def _content(self, path: str) -> Path:
        self._get([path])
        return self._cache.existing(self._commit, self._files[path])
