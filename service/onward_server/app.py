"""The composition root: builds all parts from the settings, and owns the order in which they start and stop."""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onward_server.api.access import Access, load_access
from onward_server.api.server import Ending, Server
from onward_server.completion.answer.call_writer import written_calls
from onward_server.completion.answer.format_registry import TOOL_FORMATS, choose_output_format
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.catalogue import Catalogue
from onward_server.completion.completer import Completer
from onward_server.completion.constraints import Constraints
from onward_server.completion.prompt.builder import PromptBuilder, max_text_bytes
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.prompt.template_sources import named_template
from onward_server.completion.template_samples import TemplateSamples
from onward_server.completion.validation import MAX_CHOICES, MAX_TOP_LOGPROBS, ModelLimits
from onward_server.domain import ModelCapabilities, ModelCard
from onward_server.errors import EngineFailed, ModelFolderError, StartupError
from onward_server.exit_code import ExitCode
from onward_server.file_errors import unreadable
from onward_server.grammar.compiler import GrammarCompiler
from onward_server.loading_steps import LoadingSteps
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import ExecutionProvider, SessionOptions, runtime_version, usable_processors
from onward_server.model.source.folder import ModelFolder
from onward_server.model.tokenizer import Tokenizer
from onward_server.native_lines import logged_native_lines
from onward_server.runtime import failpoints
from onward_server.runtime.engine_thread import EngineThread
from onward_server.runtime.failpoints import Parts
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.watchdog import RunDurations, Watchdog, WatchedModel, measure
from onward_server.settings.server import Settings
from onward_server.start_line import program, start_line
from onward_server.telemetry import configure_logging, console, fields, log_uncaught_exceptions
from onward_server.version import VERSION

logger = logging.getLogger(__name__)

_EXIT_CODES = {
    Ending.SIGNAL: ExitCode.OK,
    Ending.SIGNAL_WHILE_LOADING: ExitCode.OK,
    Ending.SECOND_SIGNAL: ExitCode.INTERRUPTED,
    Ending.FAILURE: ExitCode.FAILED,
}
_STOP_LIMIT_S, _FAILURE_LIMIT_S = 15, 5
"""How long the process may take to end after draining: after a signal, and after an engine has failed."""


def run(settings: Settings) -> int:
    """Serves until a signal; returns the exit code of the process.

    In this order: reads keys and certificates; binds the address; loads the models; accepts calls.
    """
    with logged_native_lines() if settings.log_format == "json" else contextlib.nullcontext():
        configure_logging(level=settings.log_level, form=settings.log_format)
        log_uncaught_exceptions()
        return _run(settings)


def _run(settings: Settings) -> int:
    try:
        ending = asyncio.run(_serve(settings, load_access(settings)))
    except StartupError as error:
        console.error("%s", error)
        return ExitCode.FAILED
    except EngineFailed as error:  # its thread still runs, and the interpreter cannot stop it
        logger.critical("ending the process at once: %s", error)
        logging.shutdown()
        os._exit(ExitCode.FAILED)
    return _EXIT_CODES[ending]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A loaded model with the parts that serve it."""

    loaded: LoadedModel
    durations: RunDurations
    limits: ModelLimits
    prompts: PromptBuilder
    output_format: OutputFormat
    compiler: GrammarCompiler | None
    """None: the output of this model cannot be constrained."""
    tokenizer: Tokenizer


def load_models(settings: Settings, steps: LoadingSteps | None = None) -> list[ServedModel]:
    """Loads all models of the settings, the default model first, and reports the steps.

    Raises:
        StartupError: A model cannot be served.
    """
    _require_known_formats(settings)
    try:
        return [
            _load(settings, model_id, folder, steps or LoadingSteps(), is_default=not index)
            for index, (model_id, folder) in enumerate(settings.model_folders.items())
        ]
    except OSError as error:
        raise StartupError(unreadable(Path(error.filename or "a model"), error)) from error


@asynccontextmanager
async def running_engines(
    settings: Settings, models: Sequence[ServedModel], failure: asyncio.Event
) -> AsyncGenerator[list[Completer]]:
    """Runs an engine for each model while the block runs. `failure` is set when an engine fails for good.

    Raises:
        EngineFailed: An engine hangs, so its thread could not be stopped.
    """
    async with AsyncExitStack() as stack:
        completers: list[Completer] = []
        for model in models:
            if model.compiler is not None:
                stack.callback(model.compiler.close)
            engine = _engine_thread(settings, model, failure)
            engine.start()
            stack.push_async_callback(_stop, engine)
            completers.append(
                Completer(
                    limits=model.limits,
                    prompts=model.prompts,
                    output_format=model.output_format,
                    constraints=None if model.compiler is None else Constraints(model.compiler),
                    tokenizer=model.tokenizer,
                    engine=engine,
                )
            )
        yield completers


async def _serve(settings: Settings, access: Access) -> Ending:
    failure = asyncio.Event()
    catalogue = Catalogue()
    async with AsyncExitStack() as engines, Server(settings, catalogue, access) as server:

        async def load() -> None:
            logger.info(
                "onward %s, listening on %s; calls are rejected until the models are loaded", VERSION, server.address
            )
            steps = LoadingSteps()
            report = asyncio.create_task(steps.report_while_slow())
            try:
                models = await asyncio.to_thread(load_models, settings, steps)
            finally:
                report.cancel()
            catalogue.set(await engines.enter_async_context(running_engines(settings, models, failure)))
            _exempt_from_collection()
            await server.open()
            started = fields(version=VERSION, address=server.address, models=list(settings.model_folders))
            console.info("%s", start_line(settings, server.address, program()), extra=started)

        ending = await server.run_until_signal(load(), failure)
        _limit_exit(_FAILURE_LIMIT_S if ending is Ending.FAILURE else _STOP_LIMIT_S)
    if ending is Ending.SIGNAL_WHILE_LOADING:
        logging.shutdown()
        os._exit(_EXIT_CODES[ending])  # otherwise Python would wait until the thread has loaded all models
    return ending


def _exempt_from_collection() -> None:
    """Takes all objects that exist now from the garbage collector. They live as long as the process.

    A full collection that visits them stops all calls for 150 ms.
    """
    gc.collect()
    gc.freeze()


def _limit_exit(limit_s: float) -> None:
    """Ends the process with an error if it still runs after this time, whatever its threads are doing."""
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):  # there may be no stderr
        faulthandler.dump_traceback_later(limit_s, exit=True)


async def _stop(engine: EngineThread) -> None:
    await engine.stop()
    if engine.is_running:
        raise EngineFailed("an engine did not stop; its current run of the model hangs or takes very long")


def _engine_thread(settings: Settings, model: ServedModel, failure: asyncio.Event) -> EngineThread:
    watchdog = Watchdog(limit_s=settings.hang_limit_s)
    parts = failpoints.armed(Parts(model=model.loaded.causal_lm), settings.failpoints)
    engine = parts.engine_type(
        WatchedModel(parts.model, watchdog, model.durations),
        num_sampleable=model.limits.num_sampleable,
        num_mask_threads=usable_processors(),
    )
    return EngineThread(
        engine,
        max_queue=settings.max_queue,
        pacer=PrefillPacer(max_chunk=settings.prefill_chunk, step_target_s=settings.step_target_ms / 1000),
        watchdog=watchdog,
        on_failure=failure.set,
        generation_type=parts.generation_type,
    )


def _load(settings: Settings, model_id: str, path: Path, steps: LoadingSteps, *, is_default: bool) -> ServedModel:
    with steps.step(f"{model_id}: reading {path}"):
        folder = ModelFolder.read(path)
        tokenizer = Tokenizer.load(path)
        template = ChatTemplate.load(path, tokenizer, named=settings.chat_template_of(model_id))
        output_format = _output_format(settings, model_id, template)
        if template is not None and output_format.tools is not None:
            template.write_calls_with(partial(written_calls, output_format.tools.frame))
        tool_format = output_format.tools.name if output_format.tools else settings.tool_format_of(model_id) or ""
        tools_fault = _tools_fault(template, tool_format)
    _log_formats(model_id, template, tool_format, output_format)
    with steps.step(
        f"{model_id}: loading {folder.weight_bytes / 2**20:.1f} MiB of weights and allocating {settings.slots} slots"
    ):
        loaded = load_model(
            folder,
            SessionOptions(
                execution_provider=ExecutionProvider(settings.execution_provider),
                device_id=settings.device_id,
                num_threads=settings.threads,
                spinning=settings.spinning,
            ),
            num_slots=settings.slots,
            max_context_length=settings.context_length,
            prefill_chunk=settings.prefill_chunk,
        )
        _require_matching_tokenizer(folder, tokenizer, loaded)
        durations = measure(loaded.causal_lm)
    with steps.step(f"{model_id}: preparing the tokenizer for constraints"):
        compiler = _grammar_compiler(model_id, folder, tokenizer, loaded)
    with steps.step(f"{model_id}: computing the fingerprint"):
        environment = (VERSION, runtime_version(), loaded.execution_provider)
        overrides = [template.source] if template and settings.chat_template_of(model_id) else []
        fingerprint = folder.fingerprint(*environment, *output_format.names, *overrides)
    causal_lm = loaded.causal_lm
    card = ModelCard(
        id=model_id,
        is_default=is_default,
        create_time_s=time.time(),
        system_fingerprint=fingerprint,
        context_length=causal_lm.context_length,
        max_output_tokens=causal_lm.context_length,
        vocabulary_size=causal_lm.vocabulary_size,
        default_sampling=folder.default_sampling,
        capabilities=_capabilities(
            loaded, tokenizer, template, takes_tools=not tools_fault, can_constrain=compiler is not None
        ),
        precision=loaded.precision,
        execution_provider=loaded.execution_provider,
        tool_format=tool_format,
        reasoning_format=output_format.reasoning.name if output_format.reasoning else "none",
    )
    return ServedModel(
        loaded=loaded,
        durations=durations,
        limits=ModelLimits(
            card=card,
            num_sampleable=tokenizer.vocabulary_size,
            eos_token_ids=folder.eos_token_ids,
            tools_fault=tools_fault,
            takes_tool_calls=template is not None and template.supports_tool_calls,
        ),
        prompts=PromptBuilder(tokenizer, template, max_text_bytes=max_text_bytes(causal_lm.context_length)),
        output_format=output_format,
        compiler=compiler,
        tokenizer=tokenizer,
    )


def _require_known_formats(settings: Settings) -> None:
    """Raises StartupError for an unknown format or template before any model is loaded, which may take minutes."""
    for name in settings.chat_templates.values():
        named_template(name)
    for name in settings.tool_formats.values():
        choose_output_format(TemplateSamples(), tools=name)
    for name in settings.reasoning_formats.values():
        choose_output_format(TemplateSamples(), reasoning=name)


def _output_format(settings: Settings, model_id: str, template: ChatTemplate | None) -> OutputFormat:
    return choose_output_format(
        template.render_samples() if template else TemplateSamples(),
        tools=settings.tool_format_of(model_id),
        reasoning=settings.reasoning_format_of(model_id),
    )


def _tools_fault(template: ChatTemplate | None, tool_format: str) -> str:
    """Why requests to a model cannot offer tools, and what the operator can do; empty if they can."""
    if template is None or not template.supports_tools:
        return (
            "the model's chat template does not show tools to the model; the operator can name one that does with "
            "--chat-template"
        )
    if not tool_format:
        names = ", ".join(format_.name for format_ in TOOL_FORMATS)
        return (
            "the model's tool format is unknown; to offer tools, the operator must set --tool-format to one of "
            f"{names}, or to none, which leaves tool calls in the text"
        )
    return ""


def _log_formats(model_id: str, template: ChatTemplate | None, tool_format: str, output_format: OutputFormat) -> None:
    reasoning_format = output_format.reasoning.name if output_format.reasoning else "none"
    logger.info("model %s: tool format %s, reasoning format %s", model_id, tool_format or "unknown", reasoning_format)
    if template is not None and template.supports_tools and not tool_format:
        logger.warning(
            "model %s: requests with tools are rejected: the chat template shows tools to the model, but the format of "
            "its tool calls is unknown; set --tool-format",
            model_id,
        )


def _require_matching_tokenizer(folder: ModelFolder, tokenizer: Tokenizer, loaded: LoadedModel) -> None:
    num_tokens, vocabulary_size = tokenizer.vocabulary_size, loaded.causal_lm.vocabulary_size
    if num_tokens > vocabulary_size:
        raise ModelFolderError(
            f"{folder.path}: the tokenizer has {num_tokens} tokens, but the model's logits have {vocabulary_size}; "
            "use the tokenizer.json of this model"
        )
    if unknown := [token_id for token_id in sorted(folder.eos_token_ids) if token_id >= num_tokens]:
        raise ModelFolderError(
            f"{folder.path}: eos_token_id {unknown[0]} is not one of the tokenizer's {num_tokens} tokens; "
            "correct it in generation_config.json, config.json or genai_config.json"
        )


def _grammar_compiler(
    model_id: str, folder: ModelFolder, tokenizer: Tokenizer, loaded: LoadedModel
) -> GrammarCompiler | None:
    try:
        return GrammarCompiler(
            tokenizer.to_json(),
            vocabulary_size=loaded.causal_lm.vocabulary_size,
            eos_token_ids=folder.eos_token_ids,
        )
    except StartupError as error:
        logger.warning("model %s is served without structured output: %s", model_id, error)
        return None


def _capabilities(
    loaded: LoadedModel, tokenizer: Tokenizer, template: ChatTemplate | None, *, takes_tools: bool, can_constrain: bool
) -> ModelCapabilities:
    return ModelCapabilities(
        chat=template is not None,
        tools=takes_tools,
        system_role=template is not None and template.supports_system_role,
        structured_output=can_constrain,
        max_n=min(MAX_CHOICES, loaded.causal_lm.num_slots),
        max_top_logprobs=min(MAX_TOP_LOGPROBS, tokenizer.vocabulary_size),
        deterministic=loaded.deterministic,
        reasoning=template is not None and template.supports_reasoning_switch,
    )
