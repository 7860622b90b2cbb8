"""Finds the chat templates of a model: in its folder, or those that the operator names."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from onward_server.errors import ModelFolderError, StartupError
from onward_server.model.source.access import is_present, read_text
from onward_server.model.source.json_file import read_json_object

_OWN_TEMPLATES = Path(__file__).parent / "templates"
_MAX_BYTES = 1 << 20
"""Maximum size of a template file; public ones have at most a tenth of it."""


def own_template_names() -> list[str]:
    """The names of the templates that come with the server, for models whose own template renders no tools."""
    return sorted(path.stem for path in _OWN_TEMPLATES.glob("*.jinja"))


def named_template(name: str) -> str:
    """Returns the text of a template of the server, or of the file with this path.

    Raises:
        StartupError: There is no such template and no such file, or the file cannot be read.
    """
    if name in own_template_names():
        return (_OWN_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    path = Path(name)
    try:
        if is_present(path):
            return read_text(path, _MAX_BYTES)
    except ModelFolderError as error:
        raise StartupError(f"--chat-template: {error}") from error
    names = ", ".join(own_template_names())
    raise StartupError(f"--chat-template: {name!r} is neither a file nor one of {names}")


def folder_templates(folder: Path) -> Mapping[str, str]:
    """Returns the templates by name: from .jinja files, else tokenizer_config.json, else chat_template.json."""
    files = {
        path.stem: read_text(path, _MAX_BYTES)
        for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))
    }
    if is_present(path := folder / "chat_template.jinja"):
        files["default"] = read_text(path, _MAX_BYTES)
    if files:
        return files
    for name in ("tokenizer_config.json", "chat_template.json"):
        if template := read_json_object(folder / name).get("chat_template"):
            return _named(folder / name, template)
    return {}


def _named(path: Path, template: object) -> Mapping[str, str]:
    if isinstance(template, str):
        return {"default": template}
    named: dict[str, str] = {}
    for entry in cast(list[object], template) if isinstance(template, list) else [template]:
        match entry:
            case {"name": str(name), "template": str(source)}:
                named[name] = source
            case _:
                raise ModelFolderError(
                    f"{path}: chat_template must be a string, or a list of objects with name and template"
                )
    return named
