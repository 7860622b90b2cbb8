"""Loads a checked folder as a CausalLM.

Chooses the cache layout, checks memory, and measures whether the output depends on the batch.
"""

import logging
import time
from dataclasses import dataclass
from typing import Literal

from onward_server.errors import EngineFailed, ModelFolderError
from onward_server.model.causal_lm import CausalLM
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.fitting import AnyCausalLM, Fitter
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.layout import choose_layout, quantizes_dynamically
from onward_server.model.load_independence import (
    measure_load_independence,
    measure_long_runs,
    run_once,
)
from onward_server.model.memory import resident_memory, size_text
from onward_server.model.memory_plan import MemoryBudget, WantedSize, require_memory
from onward_server.model.onnx_session import OnnxSession, SessionOptions
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.rope_limit import rope_limit
from onward_server.model.served_graph import served_graph
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.folder import ModelFolder
from onward_server.model.source.onnx_file import OnnxFile
from onward_server.model.source.precision import computes_in_half, precision_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to serve."""

    causal_lm: CausalLM
    deterministic: bool
    """Whether a probe gave the same bits alone, beside other sequences and in chunks."""
    precision: str
    execution_provider: str
    origin: str
    """Whether the graph was rewritten, and how or why not; the end of a sentence for the log."""
    graph_digest: str
    """A digest of a rewritten graph; empty if the one in the folder is served."""
    remaining_bytes: int
    """Memory that it takes when all slots are full, beyond what it holds after loading."""

    @property
    def layout(self) -> Literal["slots", "growing"]:
        """How the caches of keys and values lie in memory."""
        return "slots" if isinstance(self.causal_lm, SlotCausalLM) else "growing"

    @property
    def shares_runs(self) -> bool:
        """Whether several sequences decode in one run."""
        return isinstance(self.causal_lm, SlotCausalLM) and not self.causal_lm.has_single_rows


class ModelLoader:
    """Loads a model within the memory that other models leave."""

    def __init__(self, budget: MemoryBudget, rewriter: Rewriter | None) -> None:
        """Takes the memory and the rewriter. Without a rewriter, the graph in the folder is served."""
        self._budget = budget
        self._rewriter = rewriter

    def load(
        self,
        folder: ModelFolder,
        options: SessionOptions,
        *,
        num_slots: int | None,
        max_context_length: int | None,
        prefill_chunk: int,
    ) -> LoadedModel:
        """Opens the session and takes the address space for the KV memory of all slots.

        Args:
            folder: The model folder.
            options: How to make the session.
            num_slots: Sequences that decode at the same time; None: as many as fit and are of use.
            max_context_length: Limit of the context in tokens; None: the model's own, or what fits.
            prefill_chunk: Maximum number of tokens in one `prefill`; their logits need memory, too.

        Raises:
            StartupError: The model does not fit in memory, or the execution provider cannot be used.
            ModelFolderError: The graph is not supported, or its first run failed.
        """
        require_memory(
            "the weights", folder.weight_bytes, self._budget.available(), "serve a smaller or quantized export"
        )
        served = served_graph(folder, options, self._rewriter, prefill_chunk=prefill_chunk)
        before = resident_memory()
        session = OnnxSession(folder.onnx_path, options, served.graph)
        logger.info("the weights take %s", size_text(resident_memory() - before))
        io = DecoderIO.of(session, folder.config, served.onnx_file.cache_windows)
        layout = choose_layout(served.onnx_file, io)
        fitter = Fitter(
            layout=layout,
            session=session,
            io=io,
            isolates_runs=_needs_isolation(layout, served.onnx_file),
            prefill_chunk=prefill_chunk,
        )
        wanted = WantedSize(
            num_slots=num_slots,
            max_context_length=max_context_length,
            model_context_length=_context_length(folder, max_context_length, io),
        )
        try:
            fitted = fitter.fit(wanted, self._budget)
        except EngineFailed as error:
            raise ModelFolderError(f"{folder.path}: the model loads, but its first run failed: {error}") from error
        deterministic = _measure(folder, fitted.causal_lm)
        fitted.causal_lm.clear()
        remaining_bytes = fitted.remaining_bytes()
        self._budget.take(remaining_bytes)
        return LoadedModel(
            causal_lm=fitted.causal_lm,
            deterministic=deterministic,
            precision=precision_of(folder.onnx_file),
            execution_provider=session.execution_provider,
            origin=served.origin,
            graph_digest=served.digest,
            remaining_bytes=remaining_bytes,
        )


def load_model(
    folder: ModelFolder,
    options: SessionOptions,
    *,
    num_slots: int | None,
    max_context_length: int | None,
    prefill_chunk: int,
    rewriter: Rewriter | None = None,
) -> LoadedModel:
    """Loads the only model of a process; see `ModelLoader.load`."""
    return ModelLoader(MemoryBudget(), rewriter).load(
        folder,
        options,
        num_slots=num_slots,
        max_context_length=max_context_length,
        prefill_chunk=prefill_chunk,
    )


def _needs_isolation(layout: type[SlotCausalLM] | type[GrowingCausalLM], onnx_file: OnnxFile) -> bool:
    """Whether the tokens of a run affect each other.

    In 16 bits, attention by several operators rounds differently in runs of different lengths, and so does MatMulNBits.
    A probe would find that only if it had one of certain lengths.
    """
    if quantizes_dynamically(onnx_file):
        return True
    return computes_in_half(onnx_file) and (layout is GrowingCausalLM or "MatMulNBits" in onnx_file.op_types)


def _context_length(folder: ModelFolder, max_context_length: int | None, io: DecoderIO) -> int:
    length = min(folder.context_length, max_context_length or folder.context_length)
    limit = rope_limit(folder.config)
    if limit is None or limit.num_tokens >= length or io.switch_length is not None:
        return length
    logger.warning(
        "the context ends at %d tokens instead of %d: config.json has rope_scaling of type %s, which rotates the keys "
        "of a longer sequence differently",
        limit.num_tokens,
        length,
        limit.kind,
    )
    return limit.num_tokens


def _measure(folder: ModelFolder, causal_lm: AnyCausalLM) -> bool:
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
            "the context ends at %d tokens instead of %d: the graph computes positions differently in longer runs",
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
