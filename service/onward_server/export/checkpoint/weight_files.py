"""Finds the weights of a checkpoint: one safetensors file, or several that an index lists."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from onward_server.errors import ExportError
from onward_server.export.checkpoint.safetensors_file import read_safetensors
from onward_server.export.checkpoint.stored_tensor import StoredTensor
from onward_server.model.source.access import is_present, list_files
from onward_server.model.source.json_file import read_json_object

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_SHARD = re.compile(r"^model-\d+-of-\d+\.safetensors$")
_MAX_NAMED = 3


def read_weight_files(folder: Path) -> Mapping[str, StoredTensor]:
    """The tensors of all weight files, by name.

    Raises:
        ExportError: There are no safetensors files, a file is missing or malformed, or the index does not fit.
        ModelFolderError: A file cannot be read.
    """
    if is_present(folder / _SINGLE):
        return read_safetensors(folder / _SINGLE)
    if is_present(folder / _INDEX):
        return _read_shards(folder)
    raise ExportError(_absence(folder))


def require_no_adapter(folder: Path) -> None:
    """Checks that the folder has more than an adapter of another model.

    Raises:
        ExportError: It has an adapter alone.
    """
    found = next((name for name in _ADAPTERS if is_present(folder / name)), None)
    if found is not None and not any(is_present(folder / name) for name in (_SINGLE, _INDEX)):
        raise ExportError(
            f"{folder} has an adapter (LoRA) alone, {found}; merge it into its base model, for example with "
            "`merge_and_unload` of peft, and export the merged checkpoint"
        )


def _read_shards(folder: Path) -> Mapping[str, StoredTensor]:
    index = folder / _INDEX
    files = _weight_map(index)
    shards = sorted(set(files.values()))
    if missing := [shard for shard in shards if not is_present(folder / shard)]:
        named = ", ".join(missing[:_MAX_NAMED]) + (" and others" if len(missing) > _MAX_NAMED else "")
        raise ExportError(
            f"{folder} lacks {len(missing)} of the {len(shards)} files that {_INDEX} lists: {named}; download or copy "
            "them as well"
        )
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        for name, tensor in read_safetensors(folder / shard).items():
            if name in files and files[name] != shard:
                continue  # the index says which of several to use
            if name in tensors:
                raise ExportError(
                    f"{folder}: {tensors[name].file.name} and {shard} both have {name}, and {_INDEX} does not say "
                    "which to use; download the index again"
                )
            tensors[name] = tensor
    if absent := next((name for name in files if name not in tensors), None):
        raise ExportError(
            f"{index} says that {absent} is in {files[absent]}, which does not have it; download both again"
        )
    return tensors


def _weight_map(index: Path) -> Mapping[str, str]:
    """The file of each tensor."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ExportError(f"{index} has no weight_map, an object with the file of each tensor; download it again")
    files: dict[str, str] = {}
    for name, file in cast(dict[str, object], weight_map).items():
        if not isinstance(file, str) or not _is_shard(file):
            raise ExportError(
                f"{index}: weight_map has {file!r}; it must be the name of a .safetensors file in the folder"
            )
        files[name] = file
    return files


def _is_shard(file: str) -> bool:
    return file.endswith(".safetensors") and file.isprintable() and "/" not in file and "\\" not in file


def _absence(folder: Path) -> str:
    """Says what the folder has in place of safetensors files, and what to do."""
    names = sorted(list_files(folder, max_depth=1))
    if found := next((name for name in names if _SHARD.search(name)), None):
        return f"{folder} has {found}, but not {_INDEX}, which lists all files of the weights; download it as well"
    for ending, what in _OTHERS.items():
        if found := next((name for name in names if name.endswith(ending)), None):
            return f"{folder} has no {_SINGLE}, but {found}: {what.format(folder=folder, name=found)}"
    return f"{folder} has neither {_SINGLE} nor {_INDEX}; download the checkpoint again"


_CONVERT = (
    'weights of PyTorch, which can run code when they are loaded; convert them with `python -c "from transformers '
    "import AutoModelForCausalLM as M; M.from_pretrained('{folder}', dtype='auto').save_pretrained('OUTPUT')\"` (pip "
    "install transformers torch) and copy the tokenizer's files"
)
_OTHERS = {
    ".gguf": "a GGUF file; name the file itself: {folder}/{name}",
    "consolidated.safetensors": "the layout of Mistral's own tools; use the checkpoint in the layout of transformers",
    "consolidated-00001-of-00001.safetensors": "the layout of Mistral's own tools; use the layout of transformers",
    ".safetensors": "a file of another name; rename it to model.safetensors if it has all weights of the model",
    ".bin": _CONVERT,
    ".pt": _CONVERT,
    ".pth": _CONVERT,
    ".h5": "weights of TensorFlow; use a repository with safetensors files",
    ".msgpack": "weights of Flax; use a repository with safetensors files",
    ".onnx": "an ONNX model, which can be served as it is",
}
"""By the ends of file names, the most useful first."""
