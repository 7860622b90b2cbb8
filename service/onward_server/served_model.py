"""Loads a model with all the parts that serve it: tokenizer, chat template, formats and grammar compiler."""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from onward_server.completion.answer.call_writer import written_calls
from onward_server.completion.answer.format_registry import TOOL_FORMATS, choose_output_format
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.prompt.builder import PromptBuilder, max_text_bytes
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.prompt.template_sources import named_template
from onward_server.completion.template_samples import TemplateSamples
from onward_server.completion.validation import MAX_CHOICES, MAX_TOP_LOGPROBS, ModelLimits
from onward_server.domain import ModelCapabilities, ModelCard
from onward_server.errors import ModelFolderError, StartupError
from onward_server.file_errors import unreadable
from onward_server.grammar.compiler import GrammarCompiler
from onward_server.load_report import log_graph, log_memory
from onward_server.loading_steps import LoadingSteps
from onward_server.model.exporting.export_cache import ExportCache
from onward_server.model.loader import LoadedModel, ModelLoader
from onward_server.model.memory import available_memory, size_text
from onward_server.model.memory_plan import MemoryBudget
from onward_server.model.onnx_session import ExecutionProvider, SessionOptions, runtime_version
from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.source.choice import Choice
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from onward_server.model.tokenizer import Tokenizer
from onward_server.model_location import ModelFinder
from onward_server.runtime.watchdog import RunDurations, measure
from onward_server.settings.model_reference import ModelReference
from onward_server.settings.server import Settings
from onward_server.version import VERSION

logger = logging.getLogger(__name__)


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
    steps = steps or LoadingSteps()
    try:
        finder = ModelFinder(ExportCache(settings.cache_folder), steps)
        opened = [_open(settings, reference, steps, finder) for reference in settings.models.values()]
        budget = MemoryBudget([model.folder.weight_bytes for model in opened])
        models = [_load(settings, model, steps, budget, is_default=model is opened[0]) for model in opened]
    except OSError as error:
        raise StartupError(unreadable(Path(error.filename or "a model"), error)) from error
    except MemoryError as error:
        left = available_memory()
        limit = left.limit if left else "a limit"
        raise StartupError(
            f"the memory for loading the models ran out: {limit} leaves too little; raise it, or serve a smaller model"
        ) from error
    log_memory([model.loaded for model in models])
    return models


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenedModel:
    """A model whose files have been found and checked, before its weights are loaded."""

    reference: ModelReference
    choice: Choice
    folder: ModelFolder
    tokenizer: Tokenizer
    template: ChatTemplate | None
    output_format: OutputFormat
    tool_format: str


def _open(settings: Settings, reference: ModelReference, steps: LoadingSteps, finder: ModelFinder) -> _OpenedModel:
    model_id = reference.model_id
    location = finder.find(reference)
    with steps.step(f"{model_id}: reading {location.path}"):
        folder = ModelFolder.read(location.path, location.variant)
        tokenizer = Tokenizer.load(folder.path, num_logits=folder.onnx_file.last_axes.get("logits"))
        template = ChatTemplate.load(folder.path, tokenizer, named=settings.chat_template_of(model_id))
        output_format = _output_format(settings, model_id, template)
        if template is not None and output_format.tools is not None:
            template.write_calls_with(partial(written_calls, output_format.tools.frame))
        tool_format = output_format.tools.name if output_format.tools else settings.tool_format_of(model_id) or ""
    _log_formats(model_id, template, tool_format, output_format)
    choice = location.choice or folder.choice
    return _OpenedModel(
        reference=reference,
        choice=choice if location.reason is None else replace(choice, reason=location.reason),
        folder=folder,
        tokenizer=tokenizer,
        template=template,
        output_format=output_format,
        tool_format=tool_format,
    )


def _load(
    settings: Settings, opened: _OpenedModel, steps: LoadingSteps, budget: MemoryBudget, *, is_default: bool
) -> ServedModel:
    model_id, digests = opened.reference.model_id, FileDigests()
    folder, tokenizer, template, output_format = opened.folder, opened.tokenizer, opened.template, opened.output_format
    with steps.step(f"{model_id}: loading {size_text(folder.weight_bytes)} of weights and fitting the slots"):
        loaded = _load_weights(settings, folder, digests, budget)
        _require_matching_tokenizer(folder, tokenizer, loaded)
        durations = measure(loaded.causal_lm)
    log_graph(opened.reference, folder, opened.choice, loaded)
    with steps.step(f"{model_id}: preparing the tokenizer for constraints"):
        compiler = _grammar_compiler(model_id, folder, tokenizer, loaded)
    with steps.step(f"{model_id}: computing the fingerprint"):
        environment = (VERSION, runtime_version(), loaded.execution_provider)
        overrides = [template.source] if template and settings.chat_template_of(model_id) else []
        parts = (*environment, loaded.graph_digest, *output_format.names, *overrides)
        fingerprint = folder.fingerprint(digests, *parts)
    tools_fault = _tools_fault(template, opened.tool_format)
    card = ModelCard(
        id=model_id,
        is_default=is_default,
        create_time_s=time.time(),
        system_fingerprint=fingerprint,
        context_length=loaded.causal_lm.context_length,
        max_output_tokens=loaded.causal_lm.context_length,
        vocabulary_size=loaded.causal_lm.vocabulary_size,
        default_sampling=folder.default_sampling,
        capabilities=_capabilities(
            loaded, tokenizer, template, takes_tools=not tools_fault, can_constrain=compiler is not None
        ),
        precision=loaded.precision,
        execution_provider=loaded.execution_provider,
        tool_format=opened.tool_format,
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
        prompts=PromptBuilder(tokenizer, template, max_text_bytes=max_text_bytes(card.context_length)),
        output_format=output_format,
        compiler=compiler,
        tokenizer=tokenizer,
    )


def _load_weights(settings: Settings, folder: ModelFolder, digests: FileDigests, budget: MemoryBudget) -> LoadedModel:
    rewriter = Rewriter(RewritingCache(settings.cache_folder), digests) if settings.rewrite else None
    return ModelLoader(budget, rewriter).load(
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
