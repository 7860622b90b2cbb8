"""Reads a model folder and checks it before its weights are loaded.

Files: an `.onnx` file, which `choice` chooses, with external data beside it; `config.json` or `genai_config.json`;
optionally `generation_config.json`. External data must lie inside the folder and must not be truncated.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from onward_server.errors import ModelFolderError
from onward_server.model.json_file import JsonObject, read_json_object
from onward_server.model.source.access import (
    is_present,
    list_files,
    require_no_link_outside,
    require_readable_file,
    require_readable_folder,
)
from onward_server.model.source.choice import Choice, choose_graph
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.onnx_file import ExternalTensor, OnnxFile
from onward_server.sampling import PARAMETERS, SamplingOverrides, SamplingValue

_MAX_INT32 = 2**31 - 1
_OTHER_FILES = ("*.json", "*.jinja", "additional_chat_templates/*.jinja")
"""Files beside the graph and its data that may affect the output."""
_CONTEXT_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "context_length",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """The description of a model in its folder."""

    path: Path
    """The folder with the configuration and the tokenizer."""
    onnx_path: Path
    choice: Choice | None
    """How the graph was chosen; None: the user named the file."""
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
            location: A folder, or an ONNX file. The other files of a file's model are in its folder or the one above.
            variant: Which graph of a folder: see `choose_graph`. None: the rule chooses.

        Raises:
            ModelFolderError: A file is missing, unreadable, truncated or malformed, or lies outside the folder.
        """
        onnx_path, root, choice = _chosen_graph(location, variant)
        path = _folder_of_description(onnx_path, root)
        require_readable_folder(path)
        require_readable_file(onnx_path)
        onnx_file = OnnxFile.read(onnx_path)
        external = {_checked_file(onnx_path.parent, root, tensor) for tensor in onnx_file.external_tensors}
        config, genai = read_json_object(path / "config.json"), read_json_object(path / "genai_config.json")
        generation = read_json_object(path / "generation_config.json")
        genai_model, genai_search = _object(genai.get("model")), _object(genai.get("search"))
        return cls(
            path=path,
            onnx_path=onnx_path,
            choice=choice,
            onnx_file=onnx_file,
            config={**_object(genai_model.get("decoder")), **config},
            context_length=_context_length(path, config, genai_model),
            eos_token_ids=frozenset(
                token_id
                for source in (generation, config, genai_model)
                for token_id in _token_ids(path, source.get("eos_token_id"))
            ),
            default_sampling=_default_sampling(path, generation or genai_search),
            weight_bytes=sum(file.stat().st_size for file in {onnx_path, *external}),
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


def _chosen_graph(location: Path, variant: str | None) -> tuple[Path, Path, Choice | None]:
    """The graph, the folder that all files of the model must lie in, and how the graph was chosen."""
    if location.suffix == ".onnx" and not location.is_dir():
        require_readable_file(location)
        folder = location.parent
        above = not _describes_a_model(folder) and _describes_a_model(folder.parent)
        return location, folder.parent if above else folder, None
    choice = choose_graph(
        list_files(location),
        source=str(location),
        wanted=variant,
        named_by_genai=lambda path: _named_by_genai(location / path),
    )
    return location / choice.graph.path, location, choice


def _named_by_genai(path: Path) -> str | None:
    decoder = _object(_object(read_json_object(path).get("model")).get("decoder"))
    filename = decoder.get("filename")
    return filename if isinstance(filename, str) else None


def _folder_of_description(onnx_path: Path, root: Path) -> Path:
    """The folder, from the root down to that of the graph, that has the tokenizer and the configuration."""
    folders = [folder for folder in (onnx_path.parent, *onnx_path.parent.parents) if folder.is_relative_to(root)]
    return next((folder for folder in reversed(folders) if _describes_a_model(folder)), root)


def _describes_a_model(folder: Path) -> bool:
    has_configuration = any((folder / name).exists() for name in ("config.json", "genai_config.json"))
    return has_configuration and (folder / "tokenizer.json").exists()


def _checked_file(directory: Path, folder: Path, tensor: ExternalTensor) -> Path:
    """The file of an external tensor, after checking that it is inside the folder and long enough."""
    location = PurePosixPath(tensor.location)
    if not tensor.location or "\0" in tensor.location or location.is_absolute() or ".." in location.parts:
        raise ModelFolderError(
            f"{folder}: the model refers to external data at {tensor.location!r}, which must lie inside the folder"
        )
    file = directory / location
    if not is_present(file):
        raise ModelFolderError(f"{folder}: the external data file {tensor.location} is missing")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelFolderError(
            f"{folder}: the external data file {tensor.location} is a link to a place outside the folder; "
            "replace it with the file itself"
        )
    require_readable_file(file)
    require_no_link_outside(file, folder)
    size = file.stat().st_size
    end = tensor.offset + (tensor.num_bytes or 0)
    if tensor.offset < 0 or (tensor.num_bytes or 0) < 0 or end > size:
        raise ModelFolderError(
            f"{folder}: the external data file {tensor.location} is truncated: "
            f"a tensor ends at byte {end:,}, but the file has {size:,}"
        )
    return file


def _object(value: object) -> JsonObject:
    return cast(JsonObject, value) if isinstance(value, dict) else {}


def _context_length(folder: Path, config: JsonObject, genai_model: JsonObject) -> int:
    text_config = _object(config.get("text_config"))
    for source in (genai_model, config, text_config):
        for key in _CONTEXT_LENGTH_KEYS:
            value = source.get(key)
            if isinstance(value, int) and value > 0:
                return value
    raise ModelFolderError(
        f"{folder}: the context length is unknown; set max_position_embeddings in config.json, "
        "or context_length in genai_config.json"
    )


def _token_ids(folder: Path, value: object) -> Iterator[int]:
    values = cast(list[object], value) if isinstance(value, list) else [value]
    for token_id in values:
        if isinstance(token_id, int) and token_id >= 0:
            yield token_id
        elif token_id is not None:
            raise ModelFolderError(
                f"{folder}: eos_token_id {token_id!r} is not a token id, which is an integer of 0 or more"
            )


def _default_sampling(folder: Path, generation: JsonObject) -> SamplingOverrides:
    """Defaults of generation_config.json. `do_sample: false` means greedy.

    A value at the excluded end of a range, such as `top_p: 0`, means unset.
    """
    if generation.get("do_sample") is False:
        generation = {**generation, "temperature": 0}
    defaults: dict[str, SamplingValue] = {}
    for name, parameter in PARAMETERS.items():
        key, allowed = parameter.generation_config_key, parameter.range
        if key is None or allowed is None or (value := generation.get(key)) is None:
            continue
        high = min(allowed.high, _MAX_INT32)
        if not (isinstance(value, int | float) and allowed.low <= value <= high):
            raise ModelFolderError(
                f"{folder}: generation_config.json has {key} = {value!r}, outside [{allowed.low}, {high}]"
            )
        if value in allowed:
            defaults[name] = parameter.value_type(value)
    return defaults
