"""Rewrites a graph and compares it with the original, in the process that `rewriter` starts.

The two are loaded one after the other, so that only one of them is in memory.
"""

from collections.abc import Sequence
from pathlib import Path

from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.layout import choose_layout
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.onnx_session import ExecutionProvider, OnnxSession, SessionOptions
from onward_server.model.rewriting.comparison import (
    NUM_SLOTS,
    Tolerance,
    counterparts,
    expected_of,
    largest_difference,
    prompt_lengths,
)
from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.job import Job
from onward_server.model.rewriting.last_logits import keep_last_logits
from onward_server.model.rewriting.outcome import NotServed, Rewritten
from onward_server.model.rewriting.refusal import NotRewritable
from onward_server.model.rewriting.slots import to_slots
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.graph_in_place import GraphInPlace
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.precision import computes_in_half, precision_of

_FP32 = Tolerance(difference=1e-3, tie=1e-5)
_HALF = Tolerance(difference=1e-3, tie=1e-3)
_QUANTIZED = Tolerance(difference=2e-2, tie=2e-2)
"""By what a graph computes in: see decision 0026 for the measurements."""
_MIN_CONTEXT_LENGTH = 8
_ROOM = 16
"""Room in tokens after the longest prompt, for the decoded ones."""
_NAME = Path("the graph")
"""Stands for the ONNX file in messages of ONNX Runtime."""


def run_in_child(_arguments: Sequence[str], data: bytes) -> bytes:
    """Returns a `Rewritten` as bytes.

    Raises:
        OnwardError: The graph cannot be rewritten, or the rewritten graph must not be served.
    """
    job = Job.from_bytes(data)
    if job.context_length < _MIN_CONTEXT_LENGTH:
        raise NotServed(f"its context of {job.context_length} tokens is too short to compare it")
    model, changes, windows = _rewrite(job)
    return Rewritten(model=model, changes=changes, difference=compare(job, model, windows)).to_bytes()


def compare(job: Job, model: bytes, windows: Sequence[int]) -> float:
    """The largest difference between the logits of the original and of a rewritten model.

    Args:
        job: The original.
        model: The rewritten `ModelProto`.
        windows: Lengths of the attention windows.

    Raises:
        NotServed: The difference is too large, a next token differs, or the output depends on the load.
        ModelFolderError: One of the two cannot be loaded.
        EngineFailed: A run of one of the two failed.
    """
    lengths = prompt_lengths(job.context_length, windows)
    context_length = min(job.context_length, lengths[-1] + _ROOM)
    original = _load(job, job.model, context_length)
    expected = expected_of(original, lengths)
    wanted = counterparts(original, expected) if isinstance(original, SlotCausalLM) else None
    del original
    rewritten = _load(job, model, context_length)
    tolerance = _tolerance(OnnxFile.parse(memoryview(job.model)))
    difference = largest_difference(rewritten, expected, tolerance, wanted)
    if wanted is None and not measure_load_independence(rewritten):
        raise NotServed("its output would depend on the other sequences of a run")
    return difference


def _tolerance(onnx_file: OnnxFile) -> Tolerance:
    if computes_in_half(onnx_file):
        return _HALF
    return _FP32 if precision_of(onnx_file) == "fp32" else _QUANTIZED


def _rewrite(job: Job) -> tuple[bytes, str, Sequence[int]]:
    """The rewritten `ModelProto`, what was changed, and the lengths of attention windows."""
    graph = Graph.parse(job.model, Path(job.folder))
    try:
        if job.change == "slots":
            rewriting = to_slots(graph, context_length=job.context_length)
            return graph.serialize(), f"slots ({rewriting})", rewriting.windows
        keep_last_logits(graph)
        graph.prune()
        return graph.serialize(), "logits of last tokens only", []
    except NotRewritable as error:
        raise NotServed(str(error)) from error


def _load(job: Job, model: bytes, context_length: int) -> SlotCausalLM | GrowingCausalLM:
    graph = GraphInPlace(model=model, folder=Path(job.folder), num_embedded_bytes=0, num_external=0)
    options = SessionOptions(execution_provider=ExecutionProvider.CPU, num_threads=job.num_threads, spinning=False)
    session = OnnxSession(_NAME, options, graph)
    onnx_file = OnnxFile.parse(memoryview(model))
    io = DecoderIO.of(session, job.config, onnx_file.cache_windows)
    if io.has_last_logits_only:
        raise NotServed("it gives the logits of the last token only")
    layout = choose_layout(onnx_file, io)
    return layout(session, io, num_slots=NUM_SLOTS, context_length=context_length)
