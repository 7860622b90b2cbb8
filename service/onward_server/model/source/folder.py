"""Reads a model folder and checks it before its weights are loaded.

Files: an `.onnx` file, which `choice` chooses, with external data beside it; `config.json` or `genai_config.json`;
optionally `generation_config.json`.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onward_server.model.source.access import require_readable_folder
from onward_server.model.source.choice import Choice
from onward_server.model.source.description import Description
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.external_data import external_files
from onward_server.model.source.graph_kinds import require_causal_decoder
from onward_server.model.source.json_file import JsonObject, read_json_object
from onward_server.model.source.located_graph import LocatedGraph
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.sampling import SamplingOverrides

_OTHER_FILES = ("*.json", "*.jinja", "additional_chat_templates/*.jinja")
"""Files beside the graph and its data that may affect the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """The description of a model in its folder."""

    path: Path
    """The folder with the configuration and the tokenizer."""
    onnx_path: Path
    choice: Choice
    onnx_file: OnnxFile
    config: JsonObject
    context_length: int
    eos_token_ids: frozenset[int]
    default_sampling: SamplingOverrides
    weight_bytes: int

    @classmethod
    def read(cls, location: Path, variant: str | None = None) -> "ModelFolder":
        """Reads and checks a folder.

        Args:
            location: A folder or an ONNX file: see `LocatedGraph.find`.
            variant: Which graph of a folder: see `choose_graph`. None: the rule chooses.

        Raises:
            ModelFolderError: A file is missing, unreadable, truncated or malformed, or the graph cannot be served.
        """
        graph = LocatedGraph.find(location, variant)
        require_readable_folder(graph.folder)
        onnx_file = OnnxFile.read(graph.path)
        require_causal_decoder(graph.path, onnx_file, read_json_object(graph.folder / "config.json"))
        description = Description.read(graph.folder)
        external = external_files(graph.path, onnx_file.external_tensors, folder=graph.folder)
        return cls(
            path=graph.folder,
            onnx_path=graph.path,
            choice=graph.choice,
            onnx_file=onnx_file,
            config=description.config,
            context_length=description.context_length,
            eos_token_ids=description.eos_token_ids,
            default_sampling=description.default_sampling,
            weight_bytes=sum(file.stat().st_size for file in {graph.path, *external}),
        )

    @property
    def weight_files(self) -> list[Path]:
        """The ONNX file, and the files of its external data."""
        external = {self.onnx_path.parent / tensor.location for tensor in self.onnx_file.external_tensors}
        return [self.onnx_path, *sorted(external - {self.onnx_path})]

    def fingerprint(self, digests: FileDigests, *parts: str) -> str:
        """A digest of all that affects the output: the files of the folder, and `parts` such as versions."""
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.encode() + b"\0")
        for file in sorted(_served_files(self)):
            digest.update(os.path.relpath(file, self.path).encode() + b"\0")
            digest.update(digests.of(file))
        return f"fp_{digest.hexdigest()[:16]}"


def _served_files(folder: ModelFolder) -> Iterator[Path]:
    yield from folder.weight_files
    yield from (file for pattern in _OTHER_FILES for file in folder.path.glob(pattern))
