"""Tries graphs in a child process before the server loads them itself: see decision 0030."""

import json
import logging
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from onward_server.errors import ModelFolderError, OnwardError
from onward_server.model.bounded.child import is_lack_of_memory
from onward_server.model.bounded.process import ChildFailed, ChildRefused, Limits, run_bounded
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.layout import choose_layout
from onward_server.model.onnx_session import ExecutionProvider, OnnxSession, SessionOptions
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.graph_in_place import GraphInPlace
from onward_server.model.source.json_file import JsonObject
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.plain_graph import is_plain

logger = logging.getLogger(__name__)

_BASE_MEMORY, _BASE_S = 512 << 20, 5
_MEMORY_PER_WEIGHT_BYTE = 3
"""Weights in memory, and a copy in float32 of those that are float16."""
_WEIGHT_BYTES_PER_S, _GRAPH_BYTES_PER_S = 64 << 20, 1 << 20
_MIN_WALL_S, _WALL_PER_PROCESSOR_S = 30, 6
"""The limits of wall time are generous, because the machine may be busy, and a bomb takes processor time."""
_NUM_TOKENS, _CONTEXT_LENGTH = 32, 40
"""Enough tokens for a tensor that grows with a high power of their number to exceed the limit."""


class LoadTrial:
    """The trial of the graph of a model folder; made once, and only if the graph is not plain."""

    def __init__(self, folder: ModelFolder, graph: GraphInPlace | None, *, on_cpu: bool) -> None:
        """Takes the graph that is to be tried.

        Args:
            folder: The model folder.
            graph: The graph with its weights in their files; None: the ONNX file itself is loaded.
            on_cpu: Whether the model will run on the CPU. If not, the CPU may have no kernels for it.
        """
        self._folder = folder
        self._graph = graph
        self._on_cpu = on_cpu
        self._is_passed = is_plain(folder.onnx_file)

    def require_passed(self) -> None:
        """Loads the graph in a child process, and runs it on a short prompt.

        Raises:
            ModelFolderError: That takes more memory or time than the size of the files justifies, or crashes, or ONNX
                Runtime cannot load the graph.
        """
        if self._is_passed:
            return
        path, started_s = self._folder.onnx_path, time.perf_counter()
        try:
            run_bounded(__name__, [], self._limits(), data=self._description())
        except ChildRefused as error:
            raise ModelFolderError(str(error)) from error
        except ChildFailed as error:
            raise ModelFolderError(
                f"{path} is not loaded, because a trial of loading and running it failed: {error}; its weights have "
                f"{self._folder.weight_bytes / 2**20:,.1f} MiB; export the model again, or get it from a source that "
                "you trust"
            ) from error
        self._is_passed = True
        logger.info("tried %s in a process of its own in %.1f s", path, time.perf_counter() - started_s)

    def _limits(self) -> Limits:
        weight_bytes, graph_bytes = self._folder.weight_bytes, 0 if self._graph is None else len(self._graph.model)
        processor_s = _BASE_S + weight_bytes // _WEIGHT_BYTES_PER_S + graph_bytes // _GRAPH_BYTES_PER_S
        return Limits(
            memory_bytes=_BASE_MEMORY + _MEMORY_PER_WEIGHT_BYTE * weight_bytes,
            processor_s=processor_s,
            wall_s=_MIN_WALL_S + _WALL_PER_PROCESSOR_S * processor_s,
        )

    def _description(self) -> bytes:
        """What the child needs to know: a line of JSON, and the graph."""
        header = {
            "path": str(self._folder.onnx_path),
            "folder": None if self._graph is None else str(self._graph.folder),
            "config": self._folder.config,
            "on_cpu": self._on_cpu,
        }
        return json.dumps(header).encode() + b"\n" + (b"" if self._graph is None else self._graph.model)


def run_in_child(_: Sequence[str], data: bytes) -> bytes:
    """Loads and runs a graph.

    Raises:
        ModelFolderError: ONNX Runtime cannot load it. Other errors are left to the server, which explains them better.
    """
    line, model = data.split(b"\n", 1)
    header = json.loads(line)
    path = Path(header["path"])
    graph = None
    if model:
        graph = GraphInPlace(model=model, folder=Path(header["folder"]), num_embedded_bytes=0, num_external=0)
    onnx_file = OnnxFile.parse(memoryview(model)) if model else OnnxFile.read(path)
    with _harmless_errors_ignored(unless=header["on_cpu"]):
        session = OnnxSession(path, _options(onnx_file), graph)
        with _harmless_errors_ignored():
            _run(session, onnx_file, header["config"])
    return b""


def _options(onnx_file: OnnxFile) -> SessionOptions:
    return SessionOptions(
        execution_provider=ExecutionProvider.CPU,
        num_threads=1,
        spinning=False,
        prepacking="MatMulNBits" in onnx_file.op_types,  # without it, that operator unpacks its weights in each run
    )


def _run(session: OnnxSession, onnx_file: OnnxFile, config: JsonObject) -> None:
    io = DecoderIO.of(session, config)
    make = partial(choose_layout(onnx_file, io), session, io)
    causal_lm = make(num_slots=1, context_length=_CONTEXT_LENGTH)
    causal_lm.prefill(0, np.arange(_NUM_TOKENS, dtype=np.int64) % 2)
    causal_lm.decode([0], [0])


@contextmanager
def _harmless_errors_ignored(*, unless: bool = False) -> Generator[None]:
    """Ends the block at an error of the service, unless it is a lack of memory or `unless` is set."""
    try:
        yield
    except OnwardError as error:
        if unless or is_lack_of_memory(repr(error.__cause__ or error)):
            raise
