"""The pipeline of one model, where a real server would show it less plainly."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from service.completion.completer import Completer
from service.completion.prompt import PromptBuilder
from service.completion.tool_formats.tool_format import OutputFormat
from service.completion.validation import ModelLimits
from service.domain import CompletionRequest, RawTokens
from service.engine.engine import Engine
from service.model.tokenizer import Tokenizer
from service.runtime.engine_thread import EngineThread
from service.runtime.pacing import PrefillPacer
from tests.fakes import FakeCausalLM
from tests.fakes_completion import CARD
from tests.tiny_model import write_tiny_tokenizer


@pytest.fixture
def completer(tmp_path: Path) -> Completer:
    write_tiny_tokenizer(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    model = FakeCausalLM()
    return Completer(
        limits=ModelLimits(card=CARD, num_drawable=tokenizer.vocabulary_size, eos_token_ids=frozenset({2})),
        prompts=PromptBuilder(tokenizer, None, OutputFormat()),
        constraints=None,
        tokenizer=tokenizer,
        engine=EngineThread(
            Engine(model),
            num_slots=model.num_slots,
            max_queue=1,
            pacer=PrefillPacer(max_chunk=16, step_target_s=0.1),
            on_failure=lambda: None,
        ),
    )


class ObservedIds(tuple[int, ...]):
    """Token ids that note which threads read them."""

    __slots__ = ()
    readers: ClassVar[set[int]] = set()

    def __iter__(self) -> Iterator[int]:
        self.readers.add(threading.get_ident())
        return super().__iter__()


async def test_a_long_prompt_is_never_read_on_the_event_loop(completer: Completer) -> None:
    """Eight million token ids, which no model takes, once held up every call for a second and a half."""
    ids = ObservedIds([7] * 5000)
    request = CompletionRequest(raw_prompt=RawTokens(ids=ids))
    assert await completer.count_tokens(request) == 5000
    _, tokens = await completer.tokenize(request)
    assert len(tokens) == 5000
    assert ids.readers
    assert threading.get_ident() not in ids.readers
