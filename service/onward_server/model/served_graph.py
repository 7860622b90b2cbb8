"""The graph that is served for a model: the one in its ONNX file, or a rewritten one."""

import hashlib
from dataclasses import dataclass, replace

from onward_server.model.bounded.load_trial import LoadTrial
from onward_server.model.onnx_session import SessionOptions, uses_cpu
from onward_server.model.rewriting.outcome import Kept, Outcome, Rewritten
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.graph_in_place import GraphInPlace
from onward_server.model.source.onnx_file import OnnxFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedGraph:
    """The graph to serve, and where it comes from."""

    graph: GraphInPlace | None
    """None: the ONNX file itself."""
    onnx_file: OnnxFile
    """The structure of the graph."""
    origin: str
    """Whether it was rewritten, and how or why not; the end of a sentence for the log."""
    digest: str
    """A digest of a rewritten graph; empty for the one in the file."""


def served_graph(
    folder: ModelFolder, options: SessionOptions, rewriter: Rewriter | None, *, prefill_chunk: int
) -> ServedGraph:
    """Rewrites the graph of a folder where that helps. If the graph is not plain, it is tried before it is loaded.

    Args:
        folder: The model folder.
        options: How the session will be made.
        rewriter: Rewrites it; None: the original is served.
        prefill_chunk: Maximum number of tokens in one `prefill`.

    Raises:
        ModelFolderError: The ONNX file has changed since it was checked, or the trial of its graph failed.
    """
    graph = _in_place(folder)
    trial = LoadTrial(folder, graph, on_cpu=uses_cpu(options))
    outcome: Outcome
    if rewriter is None:
        outcome = Kept(reason="rewriting is off")
    elif not uses_cpu(options):
        outcome = Kept(reason="graphs are rewritten for the CPU only")
    elif graph is None:
        outcome = Kept(reason="its subgraphs have external data")
    else:
        outcome = rewriter.rewrite(
            folder, graph, options, prefill_chunk=prefill_chunk, before_running=trial.require_passed
        )
    if graph is not None and isinstance(outcome, Rewritten):
        return ServedGraph(
            graph=replace(graph, model=outcome.model),
            onnx_file=OnnxFile.parse(memoryview(outcome.model)),
            origin=f"rewritten: {outcome.changes}",
            digest=hashlib.sha256(outcome.model).hexdigest(),
        )
    trial.require_passed()
    reason = f", because {outcome.reason}" if isinstance(outcome, Kept) else ""
    return ServedGraph(graph=graph, onnx_file=folder.onnx_file, origin=f"as exported{reason}", digest="")


def _in_place(folder: ModelFolder) -> GraphInPlace | None:
    """The graph with its weights in their files; None if external data of subgraphs needs the ONNX file itself."""
    tensors = folder.onnx_file.external_tensors
    graph = GraphInPlace.read(folder.onnx_path, {tensor.location for tensor in tensors})
    return graph if graph.num_external == len(tensors) else None
