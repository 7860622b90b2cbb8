"""Loads a checked folder as a CausalLM.

Chooses the cache layout, checks memory, and measures whether the output depends on the batch.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from onward_server.errors import EngineFailed, ModelFolderError, StartupError
from onward_server.model.causal_lm import CausalLM
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.layout import MAX_ISOLATION_CHUNK, choose_layout, quantizes_dynamically
from onward_server.model.load_independence import (
    measure_load_independence,
    measure_long_runs,
    run_once,
)
from onward_server.model.memory import gib, require_memory
from onward_server.model.onnx_session import OnnxSession, SessionOptions
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.rope_limit import rope_limit
from onward_server.model.served_graph import served_graph
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.precision import precision_of

logger = logging.getLogger(__name__)

_QUICK_BYTES = 1 << 30
"""A KV cache up to this size is allocated quickly, so the log does not ask for patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to serve."""

    causal_lm: CausalLM
    deterministic: bool
    """Whether a probe gave the same bits alone, beside other sequences and in chunks."""
    precision: str
    execution_provider: str
    origin: str
    """How the graph relates to the one in the folder, as the end of a sentence."""
    graph_digest: str
    """A digest of a rewritten graph; empty if the one in the folder is served."""

    @property
    def layout(self) -> Literal["slots", "growing"]:
        """How the caches of keys and values lie in memory. Only with slots do sequences share runs."""
        return "slots" if isinstance(self.causal_lm, SlotCausalLM) else "growing"


def load_model(
    folder: ModelFolder,
    options: SessionOptions,
    *,
    num_slots: int,
    max_context_length: int | None,
    prefill_chunk: int,
    rewriter: Rewriter | None = None,
) -> LoadedModel:
    """Opens the session and allocates the KV memory of all slots.

    Args:
        folder: The model folder.
        options: How to make the session.
        num_slots: Sequences that decode at the same time.
        max_context_length: Limit of the context in tokens; None: the model's own.
        prefill_chunk: Maximum number of tokens in one `prefill`; their logits need memory, too.
        rewriter: Rewrites the graph where that helps; None: the graph in the folder is served.

    Raises:
        StartupError: The model does not fit in memory, or the execution provider cannot be used.
        ModelFolderError: The graph is not supported, or its first run failed.
    """
    require_memory("the weights", folder.weight_bytes, "; serve a smaller or quantized export")
    served = served_graph(folder, options, rewriter, prefill_chunk=prefill_chunk)
    session = OnnxSession(folder.onnx_path, options, served.graph)
    io = DecoderIO.of(session, folder.config, served.onnx_file.cache_windows)
    context_length = _context_length(folder, max_context_length)
    layout = choose_layout(served.onnx_file, io)
    cache_bytes = layout.cache_bytes(io, num_slots=num_slots, context_length=context_length)
    if session.is_cpu:
        chunk = context_length if io.cache_branch is not None else min(prefill_chunk, context_length)
        require_memory(
            f"the KV cache ({num_slots} slots of {context_length} tokens) and the logits of {chunk} tokens at once",
            cache_bytes + io.logits_bytes(num_slots=num_slots, prefill_chunk=chunk),
            "; lower --slots, --context-length or --prefill-chunk",
        )
    logger.info(
        "allocating the KV cache: %d slots of %d tokens, %.1f MiB%s",
        num_slots,
        context_length,
        cache_bytes / 2**20,
        "; this may take several seconds per GiB" if cache_bytes > _QUICK_BYTES else "",
    )
    allocate = partial(
        layout,
        session,
        io,
        num_slots=num_slots,
        context_length=context_length,
        isolation_chunk=min(prefill_chunk, MAX_ISOLATION_CHUNK),
    )
    causal_lm = _allocate(allocate, cache_bytes, num_slots=num_slots, context_length=context_length)
    if quantizes_dynamically(served.onnx_file):
        causal_lm.isolate_runs()
    deterministic = _measure(folder, causal_lm)
    return LoadedModel(
        causal_lm=causal_lm,
        deterministic=deterministic,
        precision=precision_of(folder.onnx_file),
        execution_provider=session.execution_provider,
        origin=served.origin,
        graph_digest=served.digest,
    )


def _context_length(folder: ModelFolder, max_context_length: int | None) -> int:
    length = min(folder.context_length, max_context_length or folder.context_length)
    limit = rope_limit(folder.config)
    if limit is None or limit.num_tokens >= length:
        return length
    logger.warning(
        "the context ends at %d tokens instead of %d: config.json has rope_scaling of type %s, so all tokens of a "
        "longer sequence need other keys",
        limit.num_tokens,
        length,
        limit.kind,
    )
    return limit.num_tokens


def _allocate(
    allocate: Callable[[], SlotCausalLM | GrowingCausalLM], cache_bytes: int, *, num_slots: int, context_length: int
) -> SlotCausalLM | GrowingCausalLM:
    try:
        return allocate()
    except MemoryError as error:
        raise StartupError(
            f"the KV cache ({num_slots} slots of {context_length} tokens) takes {gib(cache_bytes)}, which could not be "
            f"allocated: {error}; lower --slots or --context-length"
        ) from error


def _measure(folder: ModelFolder, causal_lm: SlotCausalLM | GrowingCausalLM) -> bool:
    """Runs the model for the first time, caps its context if need be, and measures whether it is load-independent."""
    started_s = time.perf_counter()
    try:
        run_once(causal_lm)
    except EngineFailed as error:
        raise ModelFolderError(f"{folder.path}: the model loads, but its first run failed: {error}") from error
    whole = causal_lm.context_length
    try:
        long_runs = measure_long_runs(causal_lm)
    except EngineFailed as error:
        raise ModelFolderError(
            f"{folder.path}: the model does not run at the end of its context of {whole} tokens; "
            f"correct the length in config.json or genai_config.json, or lower --context-length ({error})"
        ) from error
    if long_runs.context_length < whole:
        causal_lm.context_length = long_runs.context_length
        logger.warning(
            "the context ends at %d tokens instead of %d: the graph computes positions in another way in longer runs",
            causal_lm.context_length,
            whole,
        )
    deterministic = measure_load_independence(causal_lm, are_long_runs_exact=long_runs.are_exact)
    logger.info(
        "output independent of the batch: %s, measured in %.1f s",
        "yes" if deterministic else "no",
        time.perf_counter() - started_s,
    )
    return deterministic
