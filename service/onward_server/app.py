"""The composition root: builds every part from the settings, and owns the order of start, drain and stop."""

import asyncio
import logging
import shlex
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from onward_server.api.access import Access, load_access
from onward_server.api.server import Server
from onward_server.completion.answer.format_registry import choose_output_format
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.catalogue import Catalogue
from onward_server.completion.completer import Completer
from onward_server.completion.constraints import Constraints
from onward_server.completion.prompt.builder import PromptBuilder
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.validation import MAX_CHOICES, MAX_TOP_LOGPROBS, ModelLimits
from onward_server.domain import ModelCapabilities, ModelCard
from onward_server.engine.engine import Engine
from onward_server.errors import ModelFolderError, StartupError
from onward_server.grammar.compiler import GrammarCompiler
from onward_server.model.folder import ModelFolder
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.onnx_session import ExecutionProvider, SessionOptions, runtime_version, usable_processors
from onward_server.model.tokenizer import Tokenizer
from onward_server.runtime.engine_thread import EngineThread
from onward_server.runtime.pacing import PrefillPacer
from onward_server.settings.server import Settings
from onward_server.telemetry import configure_logging

logger = logging.getLogger(__name__)

_WELL, _FAILED = 0, 1


def run(settings: Settings) -> int:
    """Serves until a signal; returns the process's exit code."""
    configure_logging(level=settings.log_level, form=settings.log_format)
    try:
        access = load_access(settings)
        models = load_models(settings)
        ended_as_asked = asyncio.run(_serve(settings, models, access))
    except StartupError as error:
        _say(f"onward: {error}")
        return _FAILED
    return _WELL if ended_as_asked else _FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A loaded model with all that answers for it, before a loop exists."""

    loaded: LoadedModel
    limits: ModelLimits
    prompts: PromptBuilder
    output_format: OutputFormat
    compiler: GrammarCompiler | None
    """None: the model's answers cannot be constrained."""
    tokenizer: Tokenizer


def load_models(settings: Settings) -> list[ServedModel]:
    """Loads every model of the settings, the default one first.

    Raises:
        StartupError: one cannot be served.
    """
    _require_known_formats(settings)
    return [
        _load(settings, model_id, folder, is_default=not index)
        for index, (model_id, folder) in enumerate(settings.model_folders.items())
    ]


@asynccontextmanager
async def started(
    settings: Settings, models: Sequence[ServedModel], access: Access, failure: asyncio.Event
) -> AsyncGenerator[Server]:
    """A server that answers for the models; engines stop after it. `failure` is set when an engine is dead."""
    async with AsyncExitStack() as stack:
        completers: list[Completer] = []
        for model in models:
            if model.compiler is not None:
                stack.callback(model.compiler.close)
            engine = _engine_thread(settings, model, failure)
            engine.start()
            stack.push_async_callback(engine.stop)
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
        yield await stack.enter_async_context(Server(settings, Catalogue(completers), access))


def how_to_call(settings: Settings, address: str, *, command: str = "onward") -> str:
    """The line that says what is served where, with a command to paste; words in capitals stand for the caller's files.

    Args:
        settings: what is served, and how.
        address: where the server listens.
        command: how a shell on this machine starts the command line, quoted.
    """
    words = [command, "complete"]
    target = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
    if target != "127.0.0.1:50051":
        words.append(f"--target {shlex.quote(target)}")
    if settings.tls_cert:
        words.append(f"--tls-ca {shlex.quote(str(settings.tls_cert))}")
    if settings.tls_client_ca:
        words.append("--tls-cert CERT --tls-key KEY")
    if settings.api_keys_file:
        words.append("--api-key-file FILE")
    return f'onward serves {", ".join(settings.model_folders)} on {address}; try: {" ".join(words)} "Hello"'


def own_command() -> str:
    """How a shell starts this installation's command line: `onward` if the shell finds that, else as it was started."""
    if shutil.which("onward"):
        return "onward"
    if Path(sys.argv[0]).name == "onward":
        return shlex.quote(sys.argv[0])
    return f"{shlex.quote(sys.executable)} -m onward_server"


async def _serve(settings: Settings, models: Sequence[ServedModel], access: Access) -> bool:
    failure = asyncio.Event()
    async with started(settings, models, access, failure) as server:
        _say(how_to_call(settings, server.address, command=own_command()))
        return await server.run_until_signal(failure)


def _engine_thread(settings: Settings, model: ServedModel, failure: asyncio.Event) -> EngineThread:
    causal_lm = model.loaded.causal_lm
    return EngineThread(
        Engine(causal_lm, num_sampleable=model.limits.num_sampleable, num_mask_threads=usable_processors()),
        num_slots=causal_lm.num_slots,
        max_queue=settings.max_queue,
        pacer=PrefillPacer(max_chunk=settings.prefill_chunk, step_target_s=settings.step_target_ms / 1000),
        on_failure=failure.set,
    )


def _load(settings: Settings, model_id: str, path: Path, *, is_default: bool) -> ServedModel:
    with _step(f"{model_id}: read {path}"):
        folder = ModelFolder.read(path)
        tokenizer = Tokenizer.load(path)
        template = ChatTemplate.load(path, tokenizer)
        output_format = _output_format(settings, model_id, template)
    with _step(
        f"{model_id}: loaded {folder.weight_bytes / 2**20:.1f} MiB of weights, allocated {settings.slots} slots"
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
    with _step(f"{model_id}: prepared constraints"):
        compiler = _grammar_compiler(model_id, folder, tokenizer, loaded)
    with _step(f"{model_id}: took its fingerprint"):
        environment = (version("onward-server"), runtime_version(), loaded.execution_provider)
        fingerprint = folder.fingerprint(*environment, *output_format.names)
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
        capabilities=_capabilities(loaded, tokenizer, template, can_constrain=compiler is not None),
        precision=loaded.precision,
        execution_provider=loaded.execution_provider,
    )
    return ServedModel(
        loaded=loaded,
        limits=ModelLimits(
            card=card,
            num_sampleable=tokenizer.vocabulary_size,
            eos_token_ids=folder.eos_token_ids,
            takes_tool_calls=template is not None and template.supports_tool_calls,
        ),
        prompts=PromptBuilder(tokenizer, template),
        output_format=output_format,
        compiler=compiler,
        tokenizer=tokenizer,
    )


def _require_known_formats(settings: Settings) -> None:
    """Refuses wrong names at once, where the models before the one they are for may take minutes to load."""
    for name in settings.tool_formats.values():
        choose_output_format("", tools=name)
    for name in settings.reasoning_formats.values():
        choose_output_format("", reasoning=name)


def _output_format(settings: Settings, model_id: str, template: ChatTemplate | None) -> OutputFormat:
    tools, reasoning = settings.tool_formats, settings.reasoning_formats
    return choose_output_format(
        template.source if template else "",
        tools=tools.get(model_id, tools.get(None)),
        reasoning=reasoning.get(model_id, reasoning.get(None)),
    )


def _require_matching_tokenizer(folder: ModelFolder, tokenizer: Tokenizer, loaded: LoadedModel) -> None:
    num_tokens, vocabulary_size = tokenizer.vocabulary_size, loaded.causal_lm.vocabulary_size
    if num_tokens > vocabulary_size:
        raise ModelFolderError(
            f"{folder.path}: the tokenizer has {num_tokens} tokens and the model's logits {vocabulary_size}; "
            "tokenizer.json belongs to another model"
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
        logger.warning("%s serves no structured output: %s", model_id, error)
        return None


def _capabilities(
    loaded: LoadedModel, tokenizer: Tokenizer, template: ChatTemplate | None, *, can_constrain: bool
) -> ModelCapabilities:
    return ModelCapabilities(
        chat=template is not None,
        tools=template is not None and template.supports_tools,
        system_role=template is not None and template.supports_system_role,
        structured_output=can_constrain,
        max_n=min(MAX_CHOICES, loaded.causal_lm.num_slots),
        max_top_logprobs=min(MAX_TOP_LOGPROBS, tokenizer.vocabulary_size),
        deterministic=loaded.deterministic,
        reasoning=template is not None and template.supports_reasoning_switch,
    )


@contextmanager
def _step(what: str) -> Generator[None]:
    """Says a loading step and its time on a terminal, and logs it elsewhere."""
    started_s = time.perf_counter()
    yield
    line = f"{what} ({time.perf_counter() - started_s:.1f} s)"
    if sys.stderr.isatty():
        _say(line)
    else:
        logger.info(line)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
