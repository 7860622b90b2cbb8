"""The pipeline of one model: validate, build the prompt, generate, and turn tokens into events; it knows no protobuf.

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
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.collect import collect
from onward_server.completion.constraints import Constraints
from onward_server.completion.context_window import tokens_left
from onward_server.completion.prompt.builder import Prompt, PromptBuilder, is_long
from onward_server.completion.sampling_defaults import resolve
from onward_server.completion.step_clock import StepClock
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
    """A request that is ready for the engine."""

    prompt: Prompt
    generation: GenerationRequest


class Completer:
    """Answers requests with one model."""

    def __init__(
        self,
        *,
        limits: ModelLimits,
        prompts: PromptBuilder,
        constraints: Constraints | None,
        tokenizer: Tokenizer,
        engine: EngineThread,
    ) -> None:
        """`constraints`: None where the model's answers cannot be constrained; then validation lets none ask for it."""
        self.card: ModelCard = limits.card
        self._limits = limits
        self._prompts = prompts
        self._constraints = constraints
        self._tokenizer = tokenizer
        self._engine = engine

    async def stream(
        self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> AsyncGenerator[CompletionEvent]:
        """The answer as it is made; closing the generator frees what it holds within a step.

        Raises:
            InvalidRequest: the request cannot be served; `violations`, found by the door, are reported with the rest.
            EngineOverloaded: the queue is full.
            EngineFailed: a forward pass or the engine failed.
        """
        arrived_s = time.monotonic()
        await self._validate(request, violations)
        self._engine.check_capacity()
        plan = await self._plan(request)
        time_limit_at_s = None if request.time_limit_s is None else arrived_s + request.time_limit_s
        clock, create_time_s = StepClock(arrived_s=arrived_s, admitted_s=time.monotonic()), time.time()
        choices = self._choices(plan)
        is_started = False
        async with self._engine.generate(plan.generation, time_limit_at_s=time_limit_at_s) as generation:
            async for engine_event, at_s in generation.events():
                events = _answer_events(engine_event, at_s, choices, clock)
                if events and isinstance(events[-1], ChoiceFinished):  # before it is sent, which may take long
                    generation.stop_choice(events[-1].index)
                if not is_started and (clock.first_token_s or events):
                    is_started = True
                    yield self._started(plan, create_time_s)
                for event in events:
                    yield event
        yield CompletionEnded(usage=_usage(plan, choices), timings=clock.timings(time.monotonic()))

    async def complete(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> Completion:
        """The whole answer. Raises what `stream` raises."""
        async with aclosing(self.stream(request, violations=violations)) as events:
            return await collect(events)

    async def count_tokens(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> int:
        """Tokens of the rendered prompt. Raises InvalidRequest."""
        await self._validate(request, violations)
        return len((await self._prompts.build(request)).ids)

    async def tokenize(
        self, source: RawText | CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> tuple[str, tuple[PromptToken, ...]]:
        """The prompt's text and its tokens. Raises InvalidRequest."""
        if isinstance(source, RawText):
            if violations:
                raise InvalidRequest(violations)
            source = CompletionRequest(raw_prompt=source)
        else:
            await self._validate(source, violations)
        prompt = await self._prompts.build(source)
        return prompt.text, await self._prompts.tokens(prompt)

    def detokenize(self, token_ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """Text of the tokens, invalid UTF-8 replaced. Raises InvalidRequest."""
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
        sampling, length_reason = resolve(
            request.sampling,
            self.card.default_sampling,
            window_left=tokens_left(request, context_length, len(prompt.ids)),
            new_seed=secrets.randbelow(MAX_SEED),
        )
        generation = GenerationRequest(
            id=f"cmpl_{secrets.token_hex(12)}",
            prompt_ids=prompt.ids,
            sampling=sampling,
            seeds=tuple(choice_seed(sampling.seed, index) for index in range(request.n)),
            eos_token_ids=self._limits.eos_token_ids,
            top_logprobs=request.top_logprobs,
            grammar=None if self._constraints is None else await self._constraints.of(request, prompt),
            length_reason=length_reason,
        )
        return _Plan(prompt=prompt, generation=generation)

    def _choices(self, plan: _Plan) -> list[ChoiceStream]:
        sampling = plan.generation.sampling
        shown_stops = frozenset(sampling.stop_token_ids if sampling.include_stop else ())
        return [
            ChoiceStream(
                index=index,
                seed=seed,
                sampling=sampling,
                tokenizer=self._tokenizer,
                detokenizer=Detokenizer(
                    self._tokenizer,
                    at_text_start=plan.prompt.is_empty_text,
                    visible=shown_stops | plan.prompt.visible_ids,
                ),
                parser=OutputParser(plan.prompt.output_format, plan.prompt.context),
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


def _answer_events(
    event: EngineEvent, at_s: float, choices: Sequence[ChoiceStream], clock: StepClock
) -> Sequence[ChoiceDelta | ChoiceFinished]:
    match event:
        case TokenSampled():
            choice = choices[event.index]
            if not choice.is_finished:
                clock.saw_token(at_s)
            return choice.add(event)
        case PrefillStarted():
            clock.saw_prefill(at_s)
            return ()
        case SequenceExpired():
            return choices[event.index].expire()
        case _:
            raise AssertionError(f"a stream does not carry {type(event).__name__}")


def _usage(plan: _Plan, choices: Sequence[ChoiceStream]) -> Usage:
    return Usage(
        prompt_tokens=len(plan.prompt.ids),
        completion_tokens=sum(choice.num_tokens for choice in choices),
        reasoning_tokens=sum(choice.num_reasoning_tokens for choice in choices),
    )
