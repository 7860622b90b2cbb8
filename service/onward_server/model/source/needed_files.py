"""Finds the files of a repository that the server needs to serve one of its graphs."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from onward_server.errors import ModelFolderError
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


def _describes(path: str, folder: str) -> bool:
    below = path if folder == "." else path.removeprefix(f"{folder}/")
    if folder != "." and below == path:
        return False
    return any(below.count("/") == name.count("/") and fnmatchcase(below, name) for name in _DESCRIPTIONS)
