"""Finds the files of a repository that are needed to serve one of its graphs, or to export it."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import cast

from onward_server.errors import ModelFolderError
from onward_server.model.source.export_choice import INDEX, WEIGHTS, ExportChoice
from onward_server.model.source.json_file import JsonObject, read_json_object
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.other_formats import absence_of_configuration, absence_of_tokenizer

_CONFIGURATIONS = ("config.json", "genai_config.json")
_TOKENIZER = "tokenizer.json"
_DESCRIPTIONS = (
    *_CONFIGURATIONS,
    _TOKENIZER,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "*.jinja",
    "additional_chat_templates/*.jinja",
)
_LICENSES = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*")
"""An export takes these with it, because they often require it."""


def descriptions(graph: str, files: Collection[str], *, source: str) -> list[str]:
    """The configuration, tokenizer and templates in the folder of a graph and in those above it.

    Args:
        graph: Path of the graph.
        files: Paths of all files.
        source: The repository, for error texts.

    Raises:
        ModelFolderError: There is no configuration or no tokenizer.
    """
    folders = [folder.as_posix() for folder in PurePosixPath(graph).parents]
    found = sorted(path for path in files for folder in folders if _describes(path, folder))
    names = {PurePosixPath(path).name for path in found}
    if not names & set(_CONFIGURATIONS):
        raise ModelFolderError(absence_of_configuration(source))
    if _TOKENIZER not in names:
        near = [PurePosixPath(path).name for path in files if PurePosixPath(path).parent.as_posix() in folders]
        raise ModelFolderError(absence_of_tokenizer(near, source=source, output="OUTPUT"))
    return found


def data_files(graph: str, onnx_file: OnnxFile, files: Collection[str], *, source: str) -> list[str]:
    """The files with the external data of a graph.

    Args:
        graph: Path of the graph in the repository.
        onnx_file: The graph.
        files: Paths of all files.
        source: The repository, for error texts.

    Raises:
        ModelFolderError: The graph refers to a file that is not in the repository.
    """
    folder = PurePosixPath(graph).parent
    locations = {tensor.location for tensor in onnx_file.external_tensors}
    paths = {(folder / location).as_posix() for location in locations}
    if missing := sorted(paths - set(files)):
        raise ModelFolderError(
            f"{source}: {graph} keeps weights in {missing[0]}, which is not in the repository; choose another graph or "
            "repository"
        )
    return sorted(paths)


def checkpoint_files(index: JsonObject, files: Collection[str], *, source: str) -> list[str]:
    """The configuration, tokenizer and templates of a checkpoint, and its weights.

    Args:
        index: The contents of model.safetensors.index.json; empty if the weights are in model.safetensors.
        files: Paths of all files.
        source: The repository, for error texts.

    Returns:
        The file that a checkpoint is recognized by comes last.

    Raises:
        ModelFolderError: The index does not list files, or one that is not in the repository.
    """
    if WEIGHTS in files:
        return [*descriptions(WEIGHTS, files, source=source), WEIGHTS]
    weight_map = index.get("weight_map")
    listed = list(cast(JsonObject, weight_map).values()) if isinstance(weight_map, dict) else []
    names = [name for name in listed if isinstance(name, str)]
    if not names or len(names) < len(listed):
        raise ModelFolderError(f"{source}: weight_map in {INDEX} is not an object with the file of each tensor")
    if missing := sorted(set(names) - set(files)):
        raise ModelFolderError(
            f"{source} lacks {missing[0]}, which {INDEX} lists; download the checkpoint again, or use another one"
        )
    return [*descriptions(INDEX, files, source=source), *sorted(set(names)), INDEX]


def gguf_parts(choice: ExportChoice, files: Collection[str], *, source: str) -> list[str]:
    """A GGUF file, or the parts of a split one with the first at the end.

    Raises:
        ModelFolderError: A part is missing.
    """
    if missing := sorted(set(choice.gguf_files) - set(files)):
        raise ModelFolderError(
            f"{source} lacks {missing[0]}, a part of a split GGUF file; download all {len(choice.gguf_files)} parts"
        )
    return list(reversed(choice.gguf_files))


def require_complete_checkpoint(choice: ExportChoice, folder: Path, files: Collection[str], *, source: str) -> None:
    """Checks that all files of what is to be exported are in a folder.

    Raises:
        ModelFolderError: One is missing or malformed.
    """
    if choice.gguf_files:
        gguf_parts(choice, files, source=source)
    else:
        checkpoint_files(read_json_object(folder / INDEX), files, source=source)


def licenses(files: Collection[str]) -> list[str]:
    """The licenses in the root of a repository."""
    return sorted(path for path in files if any(fnmatchcase(path, name) for name in _LICENSES) and "/" not in path)


def _describes(path: str, folder: str) -> bool:
    below = path if folder == "." else path.removeprefix(f"{folder}/")
    if folder != "." and below == path:
        return False
    return any(below.count("/") == name.count("/") and fnmatchcase(below, name) for name in _DESCRIPTIONS)
