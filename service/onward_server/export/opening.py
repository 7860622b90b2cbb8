"""Opens what the user named: a checkpoint folder or a GGUF file."""

import re
from pathlib import Path

from onward_server.errors import ExportError
from onward_server.export.checkpoint.checkpoint_folder import CheckpointFolder
from onward_server.export.gguf_model.gguf_file import is_later_part
from onward_server.export.gguf_model.gguf_source import open_gguf_source
from onward_server.export.source import Source
from onward_server.file_errors import unreadable
from onward_server.model.source.access import is_present, list_files, open_file, require_readable_file
from onward_server.model.source.located_graph import snapshot_in_cache
from onward_server.settings.model_reference import HubRepository, ModelReference

_GGUF = b"GGUF"
_MAX_LISTED = 12


def open_source(path: Path) -> Source:
    """Opens a source and checks it.

    Args:
        path: A GGUF file, which may be the first part of a split one, or a folder with safetensors files or with one
            GGUF file. The folder may be a repository in the Hugging Face cache.

    Raises:
        StartupError: It is something else, is damaged, or has something that cannot be exported.
    """
    if not is_present(path):
        raise ExportError(_absence(path))
    if path.is_dir():
        folder = snapshot_in_cache(path)
        gguf_file = _only_gguf_file(folder)
        return CheckpointFolder.open(folder) if gguf_file is None else open_gguf_source(gguf_file)
    require_readable_file(path)
    with open_file(path) as file:
        start = file.read(len(_GGUF))
    if start == _GGUF or path.suffix == ".gguf":
        return open_gguf_source(path)
    raise ExportError(_other_file(path))


def _only_gguf_file(folder: Path) -> Path | None:
    """The GGUF file of a folder without safetensors files, or the first part of a split one.

    None: the folder has no GGUF file, or is a checkpoint.
    """
    names = list(list_files(folder, max_depth=1))
    found = [name for name in names if name.endswith(".gguf") and not is_later_part(name)]
    if not found or any(name.endswith(".safetensors") for name in names):
        return None
    if len(found) > 1:
        listed = ", ".join(found[:_MAX_LISTED]) + (", ..." if len(found) > _MAX_LISTED else "")
        raise ExportError(f"{folder} has {len(found)} GGUF files; name one of them: {listed}")
    return folder / found[0]


def _absence(path: Path) -> str:
    text = re.sub(r"^(https?|hf):/(?!/)", r"\1://", str(path))  # a path has no double slashes
    try:
        location = ModelReference.parse(text).location
    except ValueError as error:
        return str(error)
    if isinstance(location, HubRepository):
        return (
            f"{path} does not exist here; if it is a repository of the Hugging Face hub, `onward pull {path}` "
            "downloads it, and exports it if it has no ONNX graph"
        )
    return unreadable(path, FileNotFoundError())


def _other_file(path: Path) -> str:
    match path.suffix:
        case ".onnx":
            return f"{path} is an ONNX graph, which needs no export; serve it with `onward serve --model {path}`"
        case ".safetensors" | ".json":
            return f"{path} is one file of a checkpoint; name its folder, {path.parent}"
        case _:
            return (
                f"{path} is not a GGUF file; name a GGUF file, or the folder of a checkpoint with config.json and "
                "safetensors files"
            )
