"""A completer and a catalogue with scripted completions, for tests of the API."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from onward_server import domain
from onward_server.errors import FieldViolation, InvalidRequest, ModelNotFound
from onward_server.sampling import SamplingParams

CARD = domain.ModelCard(
    id="fake",
    aliases=("default",),
    is_default=True,
    create_time_s=1_700_000_000.25,
    system_fingerprint="fp-1",
    context_length=128,
    max_output_tokens=127,
    vocabulary_size=256,
    default_sampling={"temperature": 0.7, "max_tokens": 16},
    capabilities=domain.ModelCapabilities(
        chat=True,
        tools=False,
        system_role=True,
        structured_output=False,
        max_n=4,
        max_top_logprobs=20,
        deterministic=True,
        reasoning=False,
    ),
    precision="fp32",
    execution_provider="CPUExecutionProvider",
    tool_format="hermes",
    reasoning_format="none",
)


@dataclass(slots=True, kw_only=True)
class FakeCompleter:
    """Completes every request with `texts`, unless told to fail or to hang."""

    card: domain.ModelCard = CARD
    texts: tuple[str, ...] = ("Hello", " world")
    errors: list[BaseException] = field(default_factory=list[BaseException])
    """Raised instead of a completion, one for each request, until none are left."""
    error_after_start: Exception | None = None
    """Raised after the first event."""
    is_silent: bool = False
    """Whether the completer never yields an event."""
    hangs_after_start: bool = False
    """Whether the second event waits until `resume` is set."""
    requests: list[domain.CompletionRequest] = field(default_factory=list[domain.CompletionRequest])
    running: int = 0
    """The number of open generators."""
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a generator is closed."""

    async def stream(
        self, request: domain.CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> AsyncGenerator[domain.CompletionEvent]:
        """Yields a start, one delta for each text, a finish and an end."""
        self.requests.append(request)
        self.running += 1
        self.started.set()
        try:
            self._raise(violations)
            if self.is_silent:
                await asyncio.Event().wait()
            yield _started(self.card.id)
            if self.error_after_start:
                raise self.error_after_start
            if self.hangs_after_start:
                await self.resume.wait()
            for text in self.texts:
                yield domain.ChoiceDelta(index=0, text=text, token_count=1)
            yield domain.ChoiceFinished(
                index=0,
                finish_reason=domain.FinishReason.STOP,
                stop_cause=domain.EndOfSequence(2),
                seed=7,
                completion_tokens=len(self.texts) + 1,
            )
            yield _ended(len(self.texts) + 1)
        finally:
            self.running -= 1
            self.ended.set()

    async def complete(
        self, request: domain.CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> domain.Completion:
        """Returns the same events, assembled."""
        events = [event async for event in self.stream(request, violations=violations)]
        started, *_, ended = events
        assert isinstance(started, domain.CompletionStarted)
        assert isinstance(ended, domain.CompletionEnded)
        choice = domain.Choice(
            index=0,
            message=domain.Message(role=domain.Role.ASSISTANT, content=("".join(self.texts),)),
            finish_reason=domain.FinishReason.STOP,
            stop_cause=domain.EndOfSequence(2),
            logprobs=(),
            seed=7,
            completion_tokens=len(self.texts) + 1,
            invalid_tool_call="",
        )
        return domain.Completion(started=started, choices=(choice,), ended=ended)

    async def count_tokens(
        self, request: domain.CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> int:
        """Counts one token for each message, or the raw tokens."""
        self._raise(violations)
        raw = request.raw_prompt
        return len(raw.ids) if isinstance(raw, domain.RawTokens) else len(request.messages)

    async def tokenize(
        self, source: domain.RawText | domain.CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> tuple[str, tuple[domain.PromptToken, ...]]:
        """Makes one token of each byte."""
        self._raise(violations)
        text = source.text if isinstance(source, domain.RawText) else source.messages[0].content[0]
        tokens = tuple(
            domain.PromptToken(id=byte, token=bytes([byte]), start_offset=index, end_offset=index + 1)
            for index, byte in enumerate(text.encode())
        )
        return text, tokens

    def detokenize(self, token_ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """Makes one byte of each token."""
        if not all(0 <= token_id < self.card.vocabulary_size for token_id in token_ids):
            raise InvalidRequest.of("token_ids", "out of the vocabulary")
        return bytes(token_ids).decode(errors="replace") + ("</s>" if keep_special_tokens else "")

    def _raise(self, violations: Sequence[FieldViolation]) -> None:
        if violations:
            raise InvalidRequest(violations)
        if self.errors:
            raise self.errors.pop(0)


@dataclass(frozen=True, slots=True)
class FakeCatalogue:
    """The given completers; the first is the default."""

    completers: tuple[FakeCompleter, ...]

    def get(self, model: str) -> FakeCompleter:
        """Returns the completer with this id or alias."""
        for completer in self.completers:
            if model in ("", completer.card.id, *completer.card.aliases):
                return completer
        raise ModelNotFound(model, [card.id for card in self.cards()])

    def cards(self) -> tuple[domain.ModelCard, ...]:
        """Returns the cards of all completers, sorted by id."""
        return tuple(sorted((completer.card for completer in self.completers), key=lambda card: card.id))


def _started(model: str) -> domain.CompletionStarted:
    return domain.CompletionStarted(
        id="cmpl-1",
        create_time_s=1_700_000_000.5,
        model=model,
        system_fingerprint="fp-1",
        prompt_tokens=3,
        effective_sampling=SamplingParams(max_tokens=16, seed=7),
    )


def _ended(completion_tokens: int) -> domain.CompletionEnded:
    return domain.CompletionEnded(
        usage=domain.Usage(prompt_tokens=3, completion_tokens=completion_tokens),
        timings=domain.Timings(queue_s=0.001, prefill_s=0.002, decode_s=0.25, first_token_s=0.003, total_s=0.253),
    )
