"""Copies the files of a checkpoint that describe it: configuration, tokenizer, chat templates and licenses."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from onward_server.model.source.access import list_files, read_file, require_readable_file
from onward_server.model.source.needed_files import licenses

_TEMPLATES = "additional_chat_templates"
_DESCRIPTIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "*.jinja",
    f"{_TEMPLATES}/*.jinja",
)
_MAX_BYTES = 128 << 20
"""Maximum size of a description, which is that of a tokenizer.json that can be served."""
_MAX_LICENSE_BYTES = 1 << 20


def copy_description_files(source: Path, folder: Path) -> None:
    """Copies those of the files that a checkpoint has.

    The mode of a file is not copied: caches hold files that may not be written.

    Args:
        source: The folder of the checkpoint.
        folder: Where to copy them.

    Raises:
        ModelFolderError: A file cannot be read, is not a regular file, is empty or a Git LFS pointer, or is too large.
        OSError: A file cannot be written.
    """
    names = list(_files(source))
    for name in filter(_is_description, names):
        require_readable_file(source / name)
        _copy(source / name, folder / name, _MAX_BYTES)
    for name in licenses(names):
        _copy(source / name, folder / name, _MAX_LICENSE_BYTES)


def _files(folder: Path) -> Iterator[str]:
    yield from list_files(folder, max_depth=1)
    if (folder / _TEMPLATES).is_dir():
        yield from (f"{_TEMPLATES}/{name}" for name in list_files(folder / _TEMPLATES, max_depth=1))


def _is_description(name: str) -> bool:
    return any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in _DESCRIPTIONS)


def _copy(source: Path, target: Path, max_bytes: int) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(read_file(source, max_bytes))
