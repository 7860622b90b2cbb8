"""From requests to grammars: how many compile at once, and where the constrained output begins."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.completion.answer.reasoning_formats import HARMONY as ANALYSIS
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.answer.tool_formats.harmony import HARMONY
from onward_server.completion.answer.tool_formats.pythonic import PYTHONIC
from onward_server.completion.constraints import Constraints
from onward_server.domain import (
    CompletionRequest,
    FunctionTool,
    Message,
    RawText,
    RegexFormat,
    ResponseFormat,
    Role,
    ToolChoice,
    ToolChoiceMode,
)
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar import compiler
from onward_server.grammar.compiler import Grammar
from onward_server.grammar.response_formats import Part
from testing.sampling import RandomSampler
from tests.waiting import WAIT_S, Condition

REQUEST = CompletionRequest(raw_prompt=RawText(text="a"), response_format=RegexFormat(pattern="yes"))
FORCED = CompletionRequest(
    tools=(FunctionTool(name="now"),), tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED), parallel_tool_calls=False
)
CONTINUED = CompletionRequest(
    messages=(Message(role=Role.ASSISTANT, content=("y",), prefix=True),), response_format=RegexFormat(pattern="yes")
)
GPT_OSS = OutputFormat(tools=HARMONY, reasoning=ANALYSIS)
CALL = "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>"


@pytest.fixture
def sampler() -> Iterator[RandomSampler]:
    sampler = RandomSampler.small()
    yield sampler
    sampler.compiler.close()


async def test_each_choice_has_a_matcher_of_its_own_before_the_engine_asks(
    sampler: RandomSampler,
) -> None:
    def fail() -> NoReturn:
        raise AssertionError("the engine thread would have to make a matcher")

    grammar = await Constraints(sampler.compiler).compile(replace(REQUEST, n=3), OutputFormat(), OutputContext())
    assert grammar is not None
    grammar.new = fail
    assert len({id(grammar.matcher().native) for _ in range(3)}) == 3


async def test_a_constraint_of_a_cancelled_request_is_not_compiled_unless_it_has_begun(
    sampler: RandomSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running thread cannot be cancelled, but a constraint that has not begun to compile can."""
    release, started, changed = threading.Event(), list[ResponseFormat](), Condition()
    submitted: list[Future[Grammar]] = []
    compile_now = sampler.compiler.compile

    def blocked(response_format: ResponseFormat, _name: str) -> Part:
        started.append(response_format)
        changed.notify()
        assert release.wait(WAIT_S)
        raise InvalidRequest.of("response_format", "rejected")

    def recorded(response_format: ResponseFormat, *arguments: Any) -> Future[Grammar]:  # noqa: ANN401  passed on
        submitted.append(compile_now(response_format, *arguments))
        changed.notify()
        return submitted[-1]

    monkeypatch.setattr(compiler, "format_part", blocked)
    monkeypatch.setattr(sampler.compiler, "compile", recorded)
    constraints = Constraints(sampler.compiler)
    for number in range(1, 6):
        task = asyncio.create_task(constraints.compile(REQUEST, OutputFormat(), OutputContext()))
        await changed.until(lambda number=number: len(submitted) == number and len(started) >= min(number, 2))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(sampler.compiler._workers._threads) == len(started) == 2  # so no other constraint can begin
    assert [future.cancelled() for future in submitted] == [False, False, True, True, True]
    release.set()
    with pytest.raises(InvalidRequest):
        await constraints.compile(REQUEST, OutputFormat(), OutputContext())
    assert len(started) == 3


@pytest.mark.parametrize(
    ("request_", "prompt", "continues", "allowed", "other"),
    [
        (REQUEST, "", None, "<|channel|>final<|message|>yes", "yes"),
        (
            REQUEST,
            "",
            None,
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes",
            "<|channel|>analysis<|message|>hm<|channel|>final<|message|>yes",
        ),
        (
            REQUEST,
            "<|channel|>analysis<|message|>",
            None,
            "hm<|end|><|start|>assistant<|channel|>final<|message|>yes",
            "<|channel|>final<|message|>yes",
        ),
        (
            REQUEST,
            "<|channel|>analysis<|message|>I thin",
            MessagePart.REASONING,
            "k<|end|><|start|>assistant<|channel|>final<|message|>yes",
            "yes",
        ),
        (REQUEST, "<|channel|>final<|message|>", None, "yes", "<|channel|>final<|message|>yes"),
        (CONTINUED, "<|channel|>final<|message|>y", MessagePart.CONTENT, "es", "yes"),
        (FORCED, "", None, CALL, f"<|end|><|start|>assistant{CALL}"),
        (FORCED, "", None, f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant{CALL}", f"hm{CALL}"),
        (FORCED, "<|channel|>final<|message|>Say: ", MessagePart.CONTENT, f"<|end|><|start|>assistant{CALL}", CALL),
    ],
)
async def test_with_harmony_the_constrained_text_begins_in_the_final_channel(
    sampler: RandomSampler,
    request_: CompletionRequest,
    prompt: str,
    continues: MessagePart | None,
    allowed: str,
    other: str,
) -> None:
    context = OutputContext(tools=request_.tools, prompt=prompt, continues=continues, single_call=True)
    grammar = await Constraints(sampler.compiler).compile(request_, GPT_OSS, context)
    assert grammar is not None
    assert sampler.allows(grammar, allowed)
    assert not sampler.allows(grammar, other)


async def test_continued_reasoning_ends_before_the_constrained_text(sampler: RandomSampler) -> None:
    context = OutputContext(prompt="<think>I thin", continues=MessagePart.REASONING)
    grammar = await Constraints(sampler.compiler).compile(REQUEST, OutputFormat(reasoning=THINK), context)
    assert grammar is not None
    assert sampler.allows(grammar, "k</think>yes")
    assert not sampler.allows(grammar, "yes")


async def test_free_text_may_have_brackets_but_no_list_of_calls(sampler: RandomSampler) -> None:
    """The parser would read the list in the text as calls, whose arguments nothing has constrained."""
    request = CompletionRequest(tools=(FunctionTool(name="now", strict=True),))
    context = OutputContext(tools=request.tools)
    grammar = await Constraints(sampler.compiler).compile(request, OutputFormat(tools=PYTHONIC), context)
    assert grammar is not None
    assert sampler.allows(grammar, "[now()]")
    assert sampler.allows(grammar, "See [1], [then()] and [now].")
    assert not sampler.allows(grammar, "See [now(")
    assert not sampler.allows(grammar, "[now(city=1)]")


async def test_a_tool_call_cannot_be_required_if_tool_calls_are_left_in_the_text(sampler: RandomSampler) -> None:
    with pytest.raises(
        InvalidRequest, match=r"^tool_choice.mode: the server leaves this model's tool calls in the text"
    ) as rejected:
        await Constraints(sampler.compiler).compile(FORCED, OutputFormat(), OutputContext(tools=FORCED.tools))
    assert rejected.value.reason is InvalidReason.UNSUPPORTED_BY_MODEL
