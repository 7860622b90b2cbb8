"""Serves the completions of one model: validates a request, builds its prompt, generates, and emits events.

CompletionRequest ─▶ Prompt ─▶ GenerationRequest ─▶ EngineEvent ─▶ CompletionEvent
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from onward_server.completion.answer.choice_stream import ChoiceStream
from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.collect import collect
from onward_server.completion.constraints import Constraints
from onward_server.completion.context_window import tokens_left
from onward_server.completion.prompt.builder import Prompt, PromptBuilder, is_long
from onward_server.completion.request_timeline import RequestTimeline
from onward_server.completion.sampling_defaults import resolve
from onward_server.completion.validation import ModelLimits, check_token_ids, validate
from onward_server.domain import (
    ChoiceDelta,
    ChoiceFinished,
    Completion,
    CompletionEnded,
    CompletionEvent,
    CompletionRequest,
    CompletionStarted,
    ModelCard,
    PromptToken,
    RawText,
    Usage,
)
from onward_server.engine.generation import (
    EngineEvent,
    GenerationRequest,
    PrefillStarted,
    SequenceExpired,
    TokenSampled,
)
from onward_server.engine.seeds import MAX_SEED, choice_seed
from onward_server.errors import FieldViolation, InvalidRequest
from onward_server.model.tokenizer import Tokenizer
from onward_server.runtime.engine_thread import EngineThread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A request that is ready for the engine, and how its output is to be parsed."""

    prompt: Prompt
    generation: GenerationRequest
    output_format: OutputFormat
    context: OutputContext


class Completer:
    """Serves requests with one model."""

    def __init__(
        self,
        *,
        limits: ModelLimits,
        prompts: PromptBuilder,
        output_format: OutputFormat,
        constraints: Constraints | None,
        tokenizer: Tokenizer,
        engine: EngineThread,
    ) -> None:
        """Takes the parts of a model. Without `constraints`, validation must reject requests that need any."""
        self.card: ModelCard = limits.card
        self._limits = limits
        self._prompts = prompts
        self._output_format = output_format
        self._constraints = constraints
        self._tokenizer = tokenizer
        self._engine = engine

    async def stream(
        self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> AsyncGenerator[CompletionEvent]:
        """Yields the events of a completion as they occur.

        Closing the generator ends the request, and frees what it holds within one step of the engine.

        Args:
            request: The request, not yet validated.
            violations: The violations that decoding found; reported together with those of validation.

        Raises:
            InvalidRequest: The request is invalid, or asks for something that the model does not support.
            EngineOverloaded: The queue is full.
            EngineFailed: A run of the model failed, or the engine is dead.
        """
        arrived_s = time.monotonic()
        await self._validate(request, violations)
        self._engine.check_capacity()
        plan = await self._plan(request)
        time_limit_at_s = None if request.time_limit_s is None else arrived_s + request.time_limit_s
        timeline, create_time_s = RequestTimeline(arrived_s=arrived_s, admitted_s=time.monotonic()), time.time()
        choices = self._choices(plan)
        is_started = False
        async with self._engine.generate(plan.generation, time_limit_at_s=time_limit_at_s) as generation:
            async for engine_event, at_s in generation.events():
                events = _choice_events(engine_event, at_s, choices, timeline)
                if events and isinstance(events[-1], ChoiceFinished):  # before it is yielded, as sending may take long
                    generation.stop_choice(events[-1].index)
                if not is_started and (timeline.first_token_s or events):
                    is_started = True
                    yield self._started(plan, create_time_s)
                for event in events:
                    yield event
        yield CompletionEnded(usage=_usage(plan, choices), timings=timeline.timings(time.monotonic()))

    async def complete(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> Completion:
        """Returns the whole completion. Takes the same arguments as `stream` and raises the same errors."""
        async with aclosing(self.stream(request, violations=violations)) as events:
            return await collect(events)

    async def count_tokens(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> int:
        """Returns the number of tokens in the prompt, which may exceed the context length.

        Raises:
            InvalidRequest: The request is invalid.
        """
        await self._validate(request, violations)
        return len((await self._prompts.build(request)).ids)

    async def tokenize(
        self, source: RawText | CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> tuple[str, tuple[PromptToken, ...]]:
        """Returns the text of a prompt and its tokens.

        Raises:
            InvalidRequest: The request is invalid.
        """
        if isinstance(source, RawText):
            if violations:
                raise InvalidRequest(violations)
            prompt = await self._prompts.build(CompletionRequest(raw_prompt=source), text_field="text")
        else:
            await self._validate(source, violations)
            prompt = await self._prompts.build(source)
        return prompt.text, await self._prompts.tokens(prompt)

    def detokenize(self, token_ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """Returns the text of tokens; invalid UTF-8 becomes replacement characters.

        Raises:
            InvalidRequest: A token id is not in the vocabulary.
        """
        violations = list(check_token_ids("token_ids", token_ids, self._limits.num_sampleable))
        if violations:
            raise InvalidRequest(violations)
        return self._tokenizer.decode(token_ids, keep_special_tokens=keep_special_tokens)

    async def _validate(self, request: CompletionRequest, violations: Sequence[FieldViolation]) -> None:
        if is_long(request):
            await asyncio.to_thread(validate, request, self._limits, violations)
        else:
            validate(request, self._limits, violations)

    async def _plan(self, request: CompletionRequest) -> _Plan:
        context_length = self.card.context_length
        prompt = await self._prompts.build(request, context_length=context_length)
        output_format, context = OutputFormat(), OutputContext()  # the output of a raw prompt is text
        if request.raw_prompt is None:
            output_format, context = self._output_format, OutputContext.of_chat(request, prompt.text)
        sampling, length_reason = resolve(
            request.sampling,
            self.card.default_sampling,
            window_left=tokens_left(request, context_length, len(prompt.ids)),
            new_seed=secrets.randbelow(MAX_SEED),
        )
        grammar = None
        if self._constraints is not None:
            grammar = await self._constraints.compile(request, output_format, context)
        generation = GenerationRequest(
            id=f"cmpl_{secrets.token_hex(12)}",
            prompt_ids=prompt.ids,
            sampling=sampling,
            seeds=tuple(choice_seed(sampling.seed, index) for index in range(request.n)),
            eos_token_ids=self._limits.eos_token_ids,
            top_logprobs=request.top_logprobs,
            grammar=grammar,
            length_reason=length_reason,
        )
        return _Plan(prompt=prompt, generation=generation, output_format=output_format, context=context)

    def _choices(self, plan: _Plan) -> list[ChoiceStream]:
        sampling = plan.generation.sampling
        shown_stops = frozenset(sampling.stop_token_ids if sampling.include_stop else ())
        control_strings = plan.output_format.control_strings(with_tools=bool(plan.context.tools))
        control_ids = map(self._tokenizer.token_id, control_strings)
        visible = shown_stops.union(token_id for token_id in control_ids if token_id is not None)
        return [
            ChoiceStream(
                index=index,
                seed=seed,
                sampling=sampling,
                tokenizer=self._tokenizer,
                detokenizer=Detokenizer(self._tokenizer, at_text_start=not plan.prompt.has_text, visible=visible),
                parser=OutputParser(plan.output_format, plan.context),
            )
            for index, seed in enumerate(plan.generation.seeds)
        ]

    def _started(self, plan: _Plan, create_time_s: float) -> CompletionStarted:
        return CompletionStarted(
            id=plan.generation.id,
            create_time_s=create_time_s,
            model=self.card.id,
            system_fingerprint=self.card.system_fingerprint,
            prompt_tokens=len(plan.prompt.ids),
            effective_sampling=plan.generation.sampling,
        )


def _choice_events(
    event: EngineEvent, at_s: float, choices: Sequence[ChoiceStream], timeline: RequestTimeline
) -> Sequence[ChoiceDelta | ChoiceFinished]:
    match event:
        case TokenSampled():
            choice = choices[event.index]
            if not choice.is_finished:
                timeline.record_token(at_s)
            return choice.add(event)
        case PrefillStarted():
            timeline.record_prefill(at_s)
            return ()
        case SequenceExpired():
            return choices[event.index].expire()
        case _:
            raise AssertionError(f"the stream of a request does not contain {type(event).__name__}")


def _usage(plan: _Plan, choices: Sequence[ChoiceStream]) -> Usage:
    return Usage(
        prompt_tokens=len(plan.prompt.ids),
        completion_tokens=sum(choice.num_tokens for choice in choices),
        reasoning_tokens=sum(choice.num_reasoning_tokens for choice in choices),
    )
