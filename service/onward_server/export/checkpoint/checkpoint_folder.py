"""A Hugging Face checkpoint folder as the source of an export."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.architectures.reading import read_architecture
from onward_server.export.checkpoint.description_files import copy_description_files
from onward_server.export.checkpoint.named_weights import Weights, find_weights
from onward_server.export.checkpoint.weight_files import read_weight_files, require_no_adapter
from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.tensors import Tensor
from onward_server.model.source.access import is_present, list_files, require_readable_folder
from onward_server.model.source.json_file import read_json_object
from onward_server.model.source.other_formats import absence_of_tokenizer

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFolder:
    """A checkpoint that was opened and checked: see `Source`."""

    folder: Path
    weights: Weights
    values: Mapping[str, object]
    """What config.json of the export has."""

    @classmethod
    def open(cls, folder: Path) -> "CheckpointFolder":
        """Reads config.json and the headers of the weight files.

        Raises:
            ExportError: The folder is not a checkpoint that can be exported.
        """
        try:
            return cls._open(folder)
        except ModelFolderError as error:
            raise ExportError(str(error)) from error

    @classmethod
    def _open(cls, folder: Path) -> "CheckpointFolder":
        require_readable_folder(folder)
        require_no_adapter(folder)
        if not is_present(folder / _CONFIG):
            raise ExportError(f"{folder} has no {_CONFIG}; name the folder of a checkpoint, or a GGUF file")
        try:
            architecture = read_architecture(read_json_object(folder / _CONFIG))
        except ExportError as error:
            raise ExportError(f"{folder}: {error}") from error
        stored = read_weight_files(folder)
        weights = find_weights(folder, architecture, stored)
        if not is_present(folder / _TOKENIZER):
            names = list_files(folder, max_depth=1)
            raise ExportError(absence_of_tokenizer(names, source=str(folder), output=str(folder)))
        values = {**architecture.values, "tie_word_embeddings": weights.config.tied_embeddings}
        return cls(folder=folder, weights=weights, values=values)

    @property
    def config(self) -> DecoderConfig:
        """See `Source.config`."""
        return self.weights.config

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """See `Source.tensors`."""
        return self.weights.tensors

    def write_descriptions(self, folder: Path) -> None:
        """See `Source.write_descriptions`."""
        copy_description_files(self.folder, folder)
        text = json.dumps(self.values, indent=2, ensure_ascii=False)
        (folder / _CONFIG).write_text(f"{text}\n", encoding="utf-8")
