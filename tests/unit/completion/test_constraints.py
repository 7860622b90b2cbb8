"""How many constraints compile at once, whoever stops waiting for them."""

import asyncio
import threading

import pytest

from service.completion.constraints import Constraints
from service.completion.prompt import Prompt
from service.domain import CompletionRequest, JsonObjectFormat, RawText, ResponseFormat
from service.errors import InvalidRequest
from service.grammar.compiler import Grammar, GrammarCompiler
from service.grammar.tool_calls import ThinkingFrame

PROMPT = Prompt(text="a", ids=(1,), is_empty_text=False)
REQUEST = CompletionRequest(raw_prompt=RawText(text="a"), response_format=JsonObjectFormat())


class HeldCompiler(GrammarCompiler):
    """Holds every thread that compiles until it is released, then refuses the constraint."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.started: list[ResponseFormat] = []

    def compile(
        self, response_format: ResponseFormat, thinking: ThinkingFrame | None = None, answer_begin: str = ""
    ) -> Grammar:
        """Says that it started, and holds."""
        del thinking, answer_begin
        self.started.append(response_format)
        self.release.wait(10)
        raise InvalidRequest.of("response_format", "refused")


async def test_requests_that_are_cancelled_do_not_let_more_constraints_compile_at_once() -> None:
    """A thread cannot be cancelled, so callers that came and left could once fill every thread for seconds."""
    compiler = HeldCompiler()
    constraints = Constraints(compiler)
    for _ in range(5):
        task = asyncio.create_task(constraints.of(REQUEST, PROMPT))
        await asyncio.to_thread(lambda: None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(compiler.started) == 2
    compiler.release.set()
    with pytest.raises(InvalidRequest):
        await constraints.of(REQUEST, PROMPT)
    assert len(compiler.started) == 3
