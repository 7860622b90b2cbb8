"""Finds the graph that a path names, and the folder with the configuration and the tokenizer of its model."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onward_server.errors import ModelFolderError
from onward_server.file_errors import unreadable
from onward_server.model.source.access import is_present, list_files, read_text, require_readable_file
from onward_server.model.source.choice import Choice, choice_of_file, choose_graph
from onward_server.model.source.description import decoder_named_by
from onward_server.model.source.other_formats import other_file, require_onnx_content

_DESCRIPTION = (("config.json", "genai_config.json"), ("tokenizer.json",))
"""Files that describe a model: one of each group."""
_CACHED_REPOSITORY = re.compile(r"(models--[^/]+)/")
_MAX_REF_BYTES = 1024
_MAX_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedGraph:
    """A graph on this machine."""

    path: Path
    folder: Path
    """The folder with the configuration and the tokenizer."""
    choice: Choice

    @classmethod
    def find(cls, location: Path, variant: str | None = None) -> "LocatedGraph":
        """Finds the graph.

        Args:
            location: An ONNX file or a folder, which may be a repository in the Hugging Face cache. The model may be
                described in the folder above, as that of a graph in `onnx/` is.
            variant: Which graph of a folder: see `choose_graph`.

        Raises:
            ModelFolderError: There is no such graph, it cannot be read, or its content is not ONNX.
        """
        require_present(location)
        if not location.is_dir():
            if variant is not None:
                raise ModelFolderError(
                    f"{location} is a file, so {variant} cannot be chosen in it; name its folder in --model, or leave "
                    "out --model-file"
                )
            _require_onnx_file(location, source=location.parent)
            folders = [location.parent, location.absolute().parent.parent]
            choice = choice_of_file(location.name, list_files(location.parent, max_depth=1))
            return cls(path=location, folder=_most_descriptive(folders), choice=choice)
        root = snapshot_in_cache(location)
        files = list_files(root)
        require_one_repository(root, files)
        choice = choose_graph(
            files,
            source=str(location),
            wanted=None if variant is None else relative_variant(variant, location),
            named_by_genai=lambda path: decoder_named_by(root / path),
        )
        path = root / choice.graph.path
        _require_onnx_file(path, source=root)
        folders = [folder for folder in reversed(path.parents) if folder.is_relative_to(root)]
        folders.append(root.absolute().parent)
        return cls(path=path, folder=_most_descriptive(folders), choice=choice)


def require_present(location: Path) -> None:
    """Checks that a path exists and can be opened by ONNX Runtime.

    Raises:
        ModelFolderError: It does not exist, or is not UTF-8 text.
    """
    if is_present(location):
        _require_utf8(location.absolute())
        return
    if len(location.parts) == 1:
        raise ModelFolderError(
            f"{location} is neither a folder nor a file here; a repository of the Hugging Face hub has an owner, as in "
            f"OWNER/{location}"
        )
    raise ModelFolderError(unreadable(location, FileNotFoundError()))


def _require_utf8(path: Path) -> None:
    """Rejects paths that ONNX Runtime cannot open. Python represents bytes that are not UTF-8 by lone surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ModelFolderError(f"{str(path)!a} is not UTF-8 text; rename the folder") from None


def relative_variant(variant: str, folder: Path) -> str:
    """A variant as the rule takes it: absolute paths in the folder become relative."""
    path, folder = Path(variant), folder.absolute()
    return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else variant


def _require_onnx_file(path: Path, *, source: Path) -> None:
    require_readable_file(path)
    require_onnx_content(path, source=source)
    if path.suffix != ".onnx":
        raise ModelFolderError(other_file(path))


def snapshot_in_cache(folder: Path) -> Path:
    """The snapshot that `main` names, or the only one, if the folder is a repository in the Hugging Face cache."""
    snapshots = folder / "snapshots"
    if not (snapshots.is_dir() and (folder / "refs").is_dir()):
        return folder
    main = folder / "refs" / "main"
    named = snapshots / read_text(main, _MAX_REF_BYTES).strip() if main.is_file() else None
    if named is not None and named.is_dir():
        return named
    found = [path for path in snapshots.iterdir() if path.is_dir()]
    return found[0] if len(found) == 1 else folder


def require_one_repository(folder: Path, files: Iterable[str]) -> None:
    """Rejects the whole Hugging Face cache."""
    repositories = sorted({found[1] for path in files if (found := _CACHED_REPOSITORY.match(path))})
    if repositories:
        listed = ", ".join(repositories[:_MAX_LISTED]) + (", ..." if len(repositories) > _MAX_LISTED else "")
        raise ModelFolderError(
            f"{folder} holds several repositories of the Hugging Face hub; name one of its folders: {listed}"
        )


def _most_descriptive(folders: Sequence[Path]) -> Path:
    """The folder that has most of the files that describe a model; the first one if several have as many."""
    return max(
        folders,
        key=lambda folder: sum(any(is_present(folder / name) for name in group) for group in _DESCRIPTION),
    )
