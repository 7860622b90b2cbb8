"""Chooses the graph to serve among the files of a folder or repository: see decision 0028."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from onward_server.errors import ModelFolderError
from onward_server.model.source.other_formats import absence_of_graphs

_PRECISIONS = (
    "fp32",
    "fp16",
    "q4",
    "int4",
    "q4f16",
    "q8",
    "quantized",
    "int8",
    "uint8",
    "bnb4",
    "bf16",
    "q2",
    "q1",
)
"""Precisions at the end of names, in order of preference: decision 0028 gives the reasons."""
_SAME_PRECISION = {"q8": "quantized"}
"""Maps a precision of transformers.js to the one in its file names, where the two differ."""
_NAMES = ("model", "decoder_model_merged", "decoder_with_past_model")
"""Names of decoders with a KV cache, without the precision, in order of preference."""
_NO_DECODER = re.compile(r"encoder|vision|visual|image|audio|speech|embed|projector|^decoder_model$", re.IGNORECASE)
"""Names of graphs that are not a decoder with a KV cache: other parts of a model, or a decoder without a cache."""
_NAME_AND_PRECISION = re.compile(rf"(?P<name>.+)[_.-](?P<precision>{'|'.join(_PRECISIONS)})", re.IGNORECASE)
_NAME_AND_OTHER_SUFFIX = re.compile(rf"(?P<name>{'|'.join(_NAMES)})[_.-](?P<suffix>.+)")
_DATA_FILE = re.compile(r"(?P<graph>.+\.onnx)[_.]data(?:_\d+)?")
_SEARCHED = ("", "onnx/")
_MAX_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX file of a folder or repository."""

    path: str
    """Relative to the folder or repository, with slashes."""
    num_bytes: int
    """Size of the file and of the data files that are named after it."""
    name: str
    """Name of the file without precision and extension, such as `model`."""
    variant: str
    """Precision at the end of the name, such as `q4`; `fp32` if it ends in none."""

    @classmethod
    def of(cls, path: str, num_bytes: int) -> "Graph":
        """Reads the precision from the name."""
        stem = PurePosixPath(path).stem
        name, variant = stem, "fp32"
        if found := _NAME_AND_PRECISION.fullmatch(stem):
            name, variant = found["name"], found["precision"].lower()
        elif found := _NAME_AND_OTHER_SUFFIX.fullmatch(stem):
            name, variant = found["name"], found["suffix"]
        return cls(path=path, num_bytes=num_bytes, name=name, variant=variant)

    @property
    def folder(self) -> str:
        """The folder of the file, with a slash at the end; empty for the root."""
        return self.path[: self.path.rfind("/") + 1]

    @property
    def may_decode(self) -> bool:
        """False if its name says that it is not a decoder with a KV cache."""
        return not _NO_DECODER.search(self.name)

    @property
    def preference(self) -> tuple[int, int]:
        """Sort key: the best graph has the lowest. Unknown precisions and names come last."""
        return _index(_PRECISIONS, self.variant), _index(_NAMES, self.name)

    @property
    def is_most_preferred(self) -> bool:
        """Whether it is preferred to any other graph."""
        return self.preference == (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The graph to serve."""

    graph: Graph
    reason: str
    """Why it was chosen, such as `the only graph`."""
    others: tuple[Graph, ...]
    """The graphs that the user may choose instead."""


def choose_graph(
    files: Mapping[str, int],
    *,
    source: str,
    wanted: str | None = None,
    named_by_genai: Callable[[str], str | None] = lambda _: None,
) -> Choice:
    """Chooses the graph to serve.

    1. `wanted`, if given.
    2. The graph that genai_config.json names.
    3. The only graph in the folder and in `onnx/`, or else the only one below.
    4. Of several in the folder and in `onnx/`, the first by precision, then by name.

    A graph whose name says that it is not a decoder with a KV cache is considered only if there is no other.

    Args:
        files: Maps the path of each file, relative to the folder and with slashes, to its size in bytes.
        source: The folder or repository, for error texts.
        wanted: A precision such as `q4`, the path of a graph, or a folder, in which steps 2 to 4 choose.
        named_by_genai: Given the path of a genai_config.json in `files`, returns the file name in it.

    Raises:
        ModelFolderError: There is no such graph, or no rule prefers one of several.
    """
    graphs = _graphs(files)
    if not graphs:
        raise ModelFolderError(absence_of_graphs(files, source=source))
    wanted = str(PurePosixPath(wanted)) if wanted else ""
    if not wanted:
        return _choose_in_folder("", graphs, files, source, named_by_genai)
    if named := [graph for graph in graphs if graph.path in _paths(wanted)]:
        return _chosen(named[0], f"named as {wanted}", graphs)
    folders = sorted({folder for graph in graphs for folder in _folders_above(graph.path)})
    matching = [folder for folder in folders if f"/{folder}".endswith(f"/{wanted}/")]
    if len(matching) == 1:
        return _choose_in_folder(matching[0], graphs, files, source, named_by_genai)
    return _choose_precision(wanted, graphs, source)


def has_decoder(files: Mapping[str, int]) -> bool:
    """Whether there is a graph that may be a decoder with a KV cache, to judge by its name."""
    return any(graph.may_decode for graph in _graphs(files))


def choice_of_file(name: str, siblings: Mapping[str, int]) -> Choice:
    """The graph of a file that the user named, with the graphs beside it.

    Args:
        name: The name of the file.
        siblings: Maps the name of each file in its folder to its size in bytes.
    """
    graphs = _graphs(siblings)
    graph = next((graph for graph in graphs if graph.path == name), Graph.of(name, siblings.get(name, 0)))
    return _chosen(graph, "named by --model", graphs)


def _choose_in_folder(
    folder: str,
    graphs: Sequence[Graph],
    files: Mapping[str, int],
    source: str,
    named_by_genai: Callable[[str], str | None],
) -> Choice:
    below = [graph for graph in graphs if graph.path.startswith(folder)]
    config = f"{folder}genai_config.json"
    named = named_by_genai(config) if config in files else None
    if by_genai := [graph for graph in below if named and graph.path == folder + str(PurePosixPath(named))]:
        return _chosen(by_genai[0], "named by genai_config.json", below)
    near = [graph for graph in below if graph.folder[len(folder) :] in _SEARCHED] or below
    decoders = [graph for graph in near if graph.may_decode] or near
    if len(decoders) == 1:
        return _chosen(decoders[0], "the only graph" if len(below) == 1 else "the only decoder", below)
    if near is below:
        raise ModelFolderError(f"{source} has graphs in several folders: {_how_to_choose(decoders, source)}")
    return _most_preferred(decoders, near, source, f"the first of {len(decoders)} by precision and name")


def _choose_precision(wanted: str, graphs: Sequence[Graph], source: str) -> Choice:
    precision = _SAME_PRECISION.get(wanted.lower(), wanted.lower())
    near = [graph for graph in graphs if graph.folder in _SEARCHED] or graphs
    matching = [graph for graph in near if _SAME_PRECISION.get(graph.variant, graph.variant.lower()) == precision]
    if not matching:
        raise ModelFolderError(f"{source} has no graph {wanted}, only {_how_to_choose(graphs, source)}")
    decoders = [graph for graph in matching if graph.may_decode] or matching
    return _most_preferred(decoders, near, source, f"the {wanted} variant")


def _most_preferred(graphs: Sequence[Graph], others: Sequence[Graph], source: str, reason: str) -> Choice:
    first, *rest = sorted(graphs, key=lambda graph: (graph.preference, graph.path))
    if rest and rest[0].preference == first.preference and rest[0].name != first.name:
        raise ModelFolderError(
            f"{source} has several graphs, and no rule prefers one: {_how_to_choose(graphs, source)}"
        )
    return _chosen(first, reason, others)


def _chosen(graph: Graph, reason: str, others: Sequence[Graph]) -> Choice:
    return Choice(
        graph=graph, reason=reason, others=tuple(other for other in others if other.may_decode and other != graph)
    )


def _graphs(files: Mapping[str, int]) -> list[Graph]:
    sizes = {
        path: size
        for path, size in sorted(files.items())
        if path.endswith(".onnx") and not PurePosixPath(path).name.startswith(".")  # macOS writes ._model.onnx
    }
    for path, size in files.items():
        if (found := _DATA_FILE.fullmatch(path)) and found["graph"] in sizes:
            sizes[found["graph"]] += size
    return [Graph.of(path, size) for path, size in sizes.items()]


def _how_to_choose(graphs: Sequence[Graph], source: str) -> str:
    """Lists the variants to choose from: the folder of a graph if it holds no other graph, else its path."""
    folders = [graph.folder for graph in graphs]
    names = [
        graph.path if graph.folder in _SEARCHED or folders.count(graph.folder) > 1 else graph.folder.rstrip("/")
        for graph in graphs
    ]
    listed = ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )
    return f"{listed}; name one after a colon, as in {source}:{names[0]}"


def _paths(wanted: str) -> Sequence[str]:
    return [folder + wanted + suffix for folder in _SEARCHED for suffix in ("", ".onnx")]


def _folders_above(path: str) -> list[str]:
    return [f"{folder}/" for folder in PurePosixPath(path).parents if folder.name]


def _index(values: Sequence[str], value: str) -> int:
    return values.index(value) if value in values else len(values)
