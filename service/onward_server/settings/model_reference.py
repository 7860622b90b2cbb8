"""The values of `--model`: a folder, a file or a repository of the Hugging Face hub, with an id and a variant."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

FORMS = "[ID=]FOLDER[:VARIANT], [ID=]FILE.onnx, [ID=]FILE.gguf[:VARIANT] or [ID=]OWNER/NAME[@REVISION][:VARIANT]"
"""All forms, as shown in error texts."""

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB_NAME = re.compile(rf"(?P<owner>{_WORD})/(?P<name>{_WORD})(?:@(?P<revision>[^\s:@]+))?(?::(?P<variant>[^\s:]+))?")
_HUB_NAME_START = re.compile(rf"{_WORD}/{_WORD}[@:]")
_ADDRESS = re.compile(
    rf"(?:https?://)?(?:[\w.-]+\.)?(?:huggingface\.co|hf\.co)/({_WORD}/{_WORD})\S*|hf://({_WORD}/{_WORD})\S*"
)
_FILES = (".onnx", ".gguf", ".safetensors")
_CACHED_REPOSITORY = re.compile(r"models--[^/]+?--(?P<name>[^/]+)(?:/snapshots/[^/]+(?:/onnx)?)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """A repository of the Hugging Face hub."""

    owner: str
    name: str
    revision: str | None = None
    """A branch, tag or commit; None: the default branch."""

    def __str__(self) -> str:
        """The form that `--model` takes: `OWNER/NAME[@REVISION]`."""
        return f"{self.owner}/{self.name}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """What one `--model` names."""

    model_id: str
    location: Path | HubRepository
    """A folder, a file, or a repository. A path that does not exist is kept; reading it says what is wrong."""
    variant: str | None = None
    """Which graph or GGUF file of a folder or repository, or the precision to export in; None: rules choose."""

    @classmethod
    def parse(cls, text: str) -> "ModelReference":
        """Reads one of the `FORMS`. A path that exists is a path, whatever else it looks like.

        Raises:
            ValueError: The text has another form.
        """
        before, equals, after = text.partition("=")
        has_id = bool(equals) and "/" not in before  # an equals sign after a slash belongs to the path
        place = after if has_id else text
        if not place:
            raise ValueError(f"{text!r} names no model; use {FORMS}")
        if not _is_utf8(place):
            raise ValueError(f"{text!r} is a path that is not UTF-8 text; rename the file or folder")
        location, variant = _location_and_variant(place)
        model_id = before if has_id else _default_id(location)
        if not model_id or not model_id.isprintable() or " " in model_id:
            raise ValueError(
                f"{model_id!r} is not a model id; an id is printable and has no spaces. Set one with ID={place}"
            )
        return cls(model_id=model_id, location=location, variant=variant)


def _location_and_variant(place: str) -> tuple[Path | HubRepository, str | None]:
    if place.startswith("~/"):  # shells do not expand it after `ID=` or in files with variables
        place = f"{Path.home()}{place[1:]}"
    if _exists(place):
        return Path(place), None
    for colon in (index for index in reversed(range(len(place))) if place[index] == ":"):
        path, variant = place[:colon], place[colon + 1 :]
        if path and _exists(path):
            if Path(path).is_file() and not path.endswith(".gguf"):
                raise ValueError(f"{place!r} has a variant after a file; name the file alone, or its folder")
            if not variant:
                raise ValueError(f"{place!r} has no variant after the colon; use {path}:VARIANT or {path}")
            return Path(path), variant
    return _repository_or_missing_path(place)


def _repository_or_missing_path(place: str) -> tuple[Path | HubRepository, str | None]:
    if address := _ADDRESS.fullmatch(place):
        raise ValueError(f"{place!r} is a URL; use the name of the repository, {address[1] or address[2]}")
    found = _HUB_NAME.fullmatch(place)
    if found and not found["name"].endswith(_FILES):
        return HubRepository(owner=found["owner"], name=found["name"], revision=found["revision"]), found["variant"]
    if _HUB_NAME_START.match(place):
        raise ValueError(f"{place!r} neither exists here nor is OWNER/NAME[@REVISION][:VARIANT]")
    return Path(place), None


def _default_id(location: Path | HubRepository) -> str:
    """The name of the repository, folder or GGUF file, with hyphens for white space; of `onnx`, the folder above."""
    if isinstance(location, HubRepository):
        return location.name
    if location.suffix == ".gguf" and not location.is_dir():
        return "-".join(location.stem.split())
    folder = location if location.suffix != ".onnx" or location.is_dir() else location.parent
    cached = _CACHED_REPOSITORY.search(folder.absolute().as_posix())
    if cached:
        return cached["name"]
    if folder.absolute().name == "onnx":
        folder = folder.absolute().parent
    return "-".join(folder.resolve().name.split())


def _is_utf8(text: str) -> bool:
    """False if the text has lone surrogates, by which Python represents bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _exists(path: str) -> bool:
    """Whether a path exists; also true if it is in a folder that the user may not search."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
