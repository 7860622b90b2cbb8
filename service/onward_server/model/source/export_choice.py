"""Chooses what to export among the files of a folder or repository that has no graph to serve: see decision 0036."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from onward_server.errors import ModelFolderError
from onward_server.model.exporting.precision import DEFAULT_PRECISION, PRECISIONS, Precision
from onward_server.model.source.choice import choose_graph, has_decoder

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
"""A checkpoint has one of these files. The index lists the files with the weights."""
_GGUF = ".gguf"
_NO_DECODER = re.compile(r"mmproj|imatrix|lora|adapter|vocab", re.IGNORECASE)
"""Names of GGUF files that are not a language model: projectors of images, statistics, adapters, vocabularies."""
GGUF_PART = re.compile(r"(?P<model>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
"""The name of a part of a split GGUF file."""
MAX_GGUF_PARTS = 1000
_FLOATS: Mapping[str, Precision] = {"f32": "fp32", "bf16": "fp32", "f16": "fp16"}
"""Names of unquantized GGUF files, and the precision in which they are exported if one of them is wanted."""
_SAME = {"f32": "fp32", "fp32": "f32", "f16": "fp16", "fp16": "f16"}
_QUANTIZATION = re.compile(r"(?:^|[-._])((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|B?F16|F32|FP16|FP32|MXFP4\w*))$", re.IGNORECASE)
"""The end of a name."""
_MAX_LISTED = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """What to export."""

    gguf_files: tuple[str, ...] = ()
    """Paths of a GGUF file, or of the parts of a split one in their order; empty: the checkpoint in the folder."""
    precision: Precision
    is_default: bool
    """Whether the precision is the default, because no variant was named."""

    def source(self, folder: str) -> str:
        """The path of the GGUF file or checkpoint, given that of the folder or repository."""
        return f"{folder}/{self.gguf_files[0]}" if self.gguf_files else folder


def choose_export(files: Iterable[str], *, source: str, wanted: str | None = None) -> ExportChoice | None:
    """Chooses what to export.

    A graph is served as it is, unless `wanted` is a precision that no graph has, or names a GGUF file. A checkpoint is
    preferred to GGUF files.

    Args:
        files: The paths of all files, relative to the folder and with slashes.
        source: The folder or repository, for error texts.
        wanted: A precision, the path of a GGUF file, or the quantization at the end of its name, such as `Q4_K_M`.

    Returns:
        None: There is a graph to serve, or nothing that can be exported.

    Raises:
        ModelFolderError: There is nothing that `wanted` names, or several GGUF files and nothing says which.
    """
    paths = dict.fromkeys(files, 0)
    has_checkpoint = WEIGHTS in paths or INDEX in paths
    models = _gguf_models(paths)
    if wanted is None:
        return None if has_decoder(paths) else _export_in(None, models, source, has_checkpoint=has_checkpoint)
    if _names_graph(paths, source, wanted):
        return None
    precision = _precision(wanted) or _FLOATS.get(wanted.lower())
    if has_checkpoint and _precision(wanted) is not None:
        return _chosen((), precision)
    if named := [model for model in models if _is_named(model[0], wanted)]:
        return replace(_chosen(_only(named, source), precision), is_default=False)
    if precision is not None and (has_checkpoint or models):
        return _export_in(precision, models, source, has_checkpoint=has_checkpoint)
    if has_decoder(paths) or not (has_checkpoint or models):
        return None
    precisions = PRECISIONS if has_checkpoint or len(models) == 1 else ()
    raise ModelFolderError(f"{source} has no {wanted}; {_variants(precisions, models, source)}")


def export_of_file(name: str, wanted: str | None, *, source: str) -> ExportChoice:
    """The export of a GGUF file that the user named, or of the split one whose first part that is.

    Args:
        name: The name of the file.
        wanted: A precision; None: nobody has named one.
        source: The path of the file, for error texts.

    Raises:
        ModelFolderError: `wanted` is not a precision.
    """
    precision = None if wanted is None else _precision(wanted)
    if wanted is not None and precision is None:
        raise ModelFolderError(f"{source} cannot be exported as {wanted!r}; the precisions are {', '.join(PRECISIONS)}")
    return _chosen(_parts(name) or (name,), precision)


def _precision(wanted: str) -> Precision | None:
    return next((precision for precision in PRECISIONS if precision == wanted.lower()), None)


def _export_in(
    precision: Precision | None, models: Sequence[tuple[str, ...]], source: str, *, has_checkpoint: bool
) -> ExportChoice | None:
    if has_checkpoint:
        return _chosen((), precision)
    return _chosen(_only(models, source), precision) if models else None


def _chosen(gguf_files: tuple[str, ...], precision: Precision | None) -> ExportChoice:
    return ExportChoice(gguf_files=gguf_files, precision=precision or DEFAULT_PRECISION, is_default=precision is None)


def _only(models: Sequence[tuple[str, ...]], source: str) -> tuple[str, ...]:
    if len(models) > 1:
        raise ModelFolderError(f"{source} has {len(models)} GGUF models; {_variants((), models, source)}")
    return models[0]


def _variants(precisions: Sequence[str], models: Sequence[tuple[str, ...]], source: str) -> str:
    names = [*precisions, *(_quantization(model[0]) for model in models)]
    if len(set(names)) < len(names):
        names = [*precisions, *(model[0] for model in models)]
    rest = len(names) - _MAX_LISTED
    listed = ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
    return f"name one of these after a colon, as in {source}:{names[0]}: {listed}"


def _names_graph(paths: Mapping[str, int], source: str, wanted: str) -> bool:
    try:
        choose_graph(paths, source=source, wanted=wanted)
    except ModelFolderError:
        return False
    return True


def _gguf_models(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """The files of each model: one, or all parts. Parts are listed even if they are missing."""
    models: list[tuple[str, ...]] = []
    for path in sorted(paths):
        name = PurePosixPath(path).name
        if not name.lower().endswith(_GGUF) or name.startswith(".") or _NO_DECODER.search(name):
            continue
        parts = _parts(path)
        if parts is None:
            models.append((path,))
        elif path == parts[0]:
            models.append(parts)
    return models


def _parts(path: str) -> tuple[str, ...] | None:
    """The paths of all parts of a split file, given one of them; None if it is not split."""
    part = GGUF_PART.fullmatch(path)
    if part is None or not 1 < int(part["count"]) <= MAX_GGUF_PARTS:
        return None
    numbers = range(1, int(part["count"]) + 1)
    return tuple(f"{part['model']}-{number:05}-of-{part['count']}.gguf" for number in numbers)


def _stem(path: str) -> str:
    part = GGUF_PART.fullmatch(path)
    return PurePosixPath(part["model"]).name if part else PurePosixPath(path).name[: -len(_GGUF)]


def _is_named(path: str, wanted: str) -> bool:
    """Whether `wanted` is a path, or the end of a name after a separator."""
    ends = [re.escape(end) for end in (wanted.lower(), _SAME.get(wanted.lower())) if end]
    return path == wanted or re.search(rf"(^|[-._])({'|'.join(ends)})$", _stem(path).lower()) is not None


def _quantization(path: str) -> str:
    """The quantization at the end of a name, or the whole path if there is none."""
    found = _QUANTIZATION.search(_stem(path))
    return found[1] if found else path
