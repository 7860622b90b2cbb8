"""The completer of one model, in cases that a test through the server cannot show."""

import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.completer import Completer
from onward_server.completion.prompt.builder import Prompt, PromptBuilder
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.validation import ModelLimits
from onward_server.domain import CompletionRequest, Message, RawText, RawTokens, Role
from onward_server.engine.engine import Engine
from onward_server.errors import InvalidRequest
from onward_server.model.tokenizer import Encoding, Tokenizer
from onward_server.runtime.engine_thread import EngineThread
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.watchdog import Watchdog
from onward_server.sampling import SamplingOverrides
from testing.fakes_completion import CARD
from testing.tiny_model import write_tiny_tokenizer
from tests.fakes import FakeCausalLM

ONE_TOKEN: SamplingOverrides = {"max_tokens": 1}
VERY_LONG = "The tide came in. " * 1000


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tiny_tokenizer(tmp_path)
    return Tokenizer.load(tmp_path)


@pytest.fixture
async def engine() -> AsyncGenerator[EngineThread]:
    model = FakeCausalLM()
    thread = EngineThread(
        Engine(model),
        max_queue=1,
        pacer=PrefillPacer(max_chunk=16, step_target_s=0.1),
        watchdog=Watchdog(limit_s=30),
        on_failure=lambda: None,
    )
    thread.start()
    yield thread
    await thread.stop()


@pytest.fixture
def completer(tokenizer: Tokenizer, engine: EngineThread) -> Completer:
    return completer_of(PromptBuilder(tokenizer, None), tokenizer, engine)


def completer_of(prompts: PromptBuilder, tokenizer: Tokenizer, engine: EngineThread) -> Completer:
    return Completer(
        limits=ModelLimits(card=CARD, num_sampleable=tokenizer.vocabulary_size, eos_token_ids=frozenset({2})),
        prompts=prompts,
        output_format=OutputFormat(),
        constraints=None,
        tokenizer=tokenizer,
        engine=engine,
    )


class ObservedIds(tuple[int, ...]):
    """Token ids that record which threads read them."""

    __slots__ = ()
    readers: ClassVar[set[int]] = set()

    def __iter__(self) -> Iterator[int]:
        self.readers.add(threading.get_ident())
        return super().__iter__()


async def test_a_long_prompt_is_never_read_on_the_event_loop(completer: Completer) -> None:
    """Eight million token ids, more than any model takes, blocked all RPCs for a second and a half."""
    ids = ObservedIds([7] * 5000)
    request = CompletionRequest(raw_prompt=RawTokens(ids=ids))
    assert await completer.count_tokens(request) == 5000
    _, tokens = await completer.tokenize(request)
    assert len(tokens) == 5000
    assert ids.readers
    assert threading.get_ident() not in ids.readers


class UnusedTokenizer(Tokenizer):
    """Fails if it has to encode."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Raises."""
        raise AssertionError(f"encodes {len(text)} characters with add_special_tokens={add_special_tokens}")


@pytest.mark.usefixtures("tokenizer")
@pytest.mark.parametrize(
    "request_",
    [
        CompletionRequest(raw_prompt=RawText(text=VERY_LONG)),
        CompletionRequest(messages=(Message(role=Role.USER, content=(VERY_LONG,)),)),
    ],
    ids=["raw", "chat"],
)
async def test_text_that_cannot_fit_is_rejected_before_it_is_encoded(
    request_: CompletionRequest, tmp_path: Path, engine: EngineThread
) -> None:
    """Rejecting eight megabytes took 1.6 GB of memory and nine seconds."""
    unused = UnusedTokenizer.load(tmp_path)
    prompts = PromptBuilder(unused, ChatTemplate.load(tmp_path, unused))
    with pytest.raises(InvalidRequest, match="at least"):
        await completer_of(prompts, unused, engine).complete(request_)


async def test_tokens_are_counted_even_if_they_do_not_fit(completer: Completer) -> None:
    request = CompletionRequest(raw_prompt=RawText(text=VERY_LONG))
    assert await completer.count_tokens(request) > CARD.context_length


async def test_the_creation_time_of_a_completion_is_its_admission(
    completer: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the arrival, which is seconds earlier if a constraint takes that long to compile."""
    prepared_s: list[float] = []
    build = PromptBuilder.build

    async def build_and_record_the_time(
        self: PromptBuilder, request: CompletionRequest, *, context_length: int | None = None
    ) -> Prompt:
        prompt = await build(self, request, context_length=context_length)
        prepared_s.append(time.time())
        return prompt

    monkeypatch.setattr(PromptBuilder, "build", build_and_record_the_time)
    completion = await completer.complete(CompletionRequest(raw_prompt=RawTokens(ids=(5, 6)), sampling=ONE_TOKEN))
    assert completion.started.create_time_s >= prepared_s[0]
