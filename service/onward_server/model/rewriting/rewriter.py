"""Decides which graphs to rewrite, and takes them from the cache or from a process that rewrites them."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from onward_server.model.bounded.process import ChildCrashed, ChildFailed, ChildRefused, Limits, run_bounded
from onward_server.model.layout import quantizes_dynamically
from onward_server.model.memory import available_memory
from onward_server.model.onnx_session import SessionOptions, runtime_version, usable_processors
from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.job import Change, Job
from onward_server.model.rewriting.outcome import Kept, Outcome, Rewritten, outcome_of
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.graph_in_place import GraphInPlace
from onward_server.version import VERSION

logger = logging.getLogger(__name__)

_PROCESS = "onward_server.model.rewriting.process"
_MIN_LOGITS_BYTES = 32 << 20
"""A graph with slots is rewritten only if the logits of a prompt chunk take more than this."""
_MAX_GRAPH_BYTES = 64 << 20
_BASE_MEMORY, _BASE_S = 2 << 30, 120
_MEMORY_PER_WEIGHT_BYTE = 3
_S_PER_GIB = 300


class Rewriter:
    """Rewrites the graphs of models for the CPU."""

    def __init__(self, cache: RewritingCache, digests: FileDigests, *, process: str = _PROCESS) -> None:
        """Takes the cache, the digests for its keys, and the module whose `run_in_child` rewrites a `Job`."""
        self._cache = cache
        self._digests = digests
        self._process = process

    def rewrite(
        self,
        folder: ModelFolder,
        graph: GraphInPlace,
        options: SessionOptions,
        *,
        prefill_chunk: int,
        before_running: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Returns the rewritten graph of a model, or why the original is served.

        The first time for a model, another process loads the original, and then the rewritten graph.

        Args:
            folder: The model folder.
            graph: The graph of its ONNX file.
            options: How the model is served.
            prefill_chunk: Maximum number of tokens in one `prefill`.
            before_running: Called before the other process is started.
        """
        change = _wanted_change(folder, prefill_chunk)
        if isinstance(change, Kept):
            return change
        job = Job(
            model=graph.model,
            folder=str(graph.folder),
            change=change,
            config=folder.config,
            context_length=folder.context_length,
            num_threads=options.num_threads or usable_processors(),
        )
        if len(job.model) > _MAX_GRAPH_BYTES:
            return Kept(reason=f"it has {len(job.model) / 2**20:.0f} MiB without its large weights")
        key = self._key(folder, job)
        outcome = self._cache.find(key)
        if outcome is None:
            before_running()
            outcome, is_final = self._run(folder, job)
            if is_final:
                self._cache.keep(key, outcome)
        return outcome

    def _run(self, folder: ModelFolder, job: Job) -> tuple[Outcome, bool]:
        """The outcome of a process, and whether another attempt would end in the same way."""
        logger.info("rewriting the graph of %s, which is done once for a model", folder.onnx_path)
        started_s = time.perf_counter()
        limits = _limits(folder.weight_bytes, job.num_threads)
        try:
            outcome = outcome_of(run_bounded(self._process, [], limits, data=job.to_bytes()))
        except ChildRefused as error:
            return Kept(reason=str(error)), True
        except ValueError:
            return Kept(reason="rewriting it failed: the process returned no graph"), False
        except ChildFailed as error:
            return Kept(reason=f"rewriting it failed: {error}"), isinstance(error, ChildCrashed)
        if isinstance(outcome, Rewritten):
            logger.info(
                "rewrote the graph in %.1f s; its logits differ by at most %.1g of their range",
                time.perf_counter() - started_s,
                outcome.difference,
            )
        return outcome, True

    def _key(self, folder: ModelFolder, job: Job) -> str:
        """A digest of all that an outcome depends on."""
        files = sorted((path.resolve().name, self._digests.of(path).hex()) for path in folder.weight_files)
        environment = [VERSION, _code_digest(), runtime_version(), version("onnx"), platform.machine()]
        asked = [job.change, job.config, job.context_length]
        described = json.dumps([files, environment, asked], sort_keys=True).encode()
        return hashlib.sha256(described + b"\0" + job.model).hexdigest()


def _wanted_change(folder: ModelFolder, prefill_chunk: int) -> Change | Kept:
    onnx_file = folder.onnx_file
    if quantizes_dynamically(onnx_file):
        return Kept(reason="it quantizes all tokens of a run with one scale, so other runs would give other logits")
    if "GroupQueryAttention" not in onnx_file.op_types:
        return "slots"
    if "num_logits_to_keep" in (*onnx_file.inputs, *onnx_file.optional_inputs):
        return Kept(reason="it computes only the logits that are wanted")
    vocabulary_size = folder.config.get("vocab_size")
    if isinstance(vocabulary_size, int) and vocabulary_size * prefill_chunk * 4 < _MIN_LOGITS_BYTES:
        return Kept(reason="its logits are small")
    return "last_logits"


def _limits(weight_bytes: int, num_threads: int) -> Limits:
    memory_bytes = _BASE_MEMORY + _MEMORY_PER_WEIGHT_BYTE * weight_bytes
    wall_s = _BASE_S + _S_PER_GIB * weight_bytes / 2**30
    available = available_memory()
    return Limits(
        memory_bytes=min(memory_bytes, available.num_bytes) if available else memory_bytes,
        processor_s=int(wall_s * num_threads),
        wall_s=wall_s,
    )


def _code_digest() -> str:
    """Digest of the modules that rewrite and compare."""
    return hashlib.sha256(b"\0".join(_sources())).hexdigest()


def _sources() -> Iterator[bytes]:
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        yield path.read_bytes()
