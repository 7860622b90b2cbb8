"""The assembly of a stream of events into a completion."""

from collections.abc import AsyncIterator

import pytest

from onward_server.completion.collect import collect
from onward_server.domain import (
    Choice,
    ChoiceDelta,
    ChoiceFinished,
    Completion,
    CompletionEnded,
    CompletionEvent,
    CompletionStarted,
    FinishReason,
    Logprob,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from onward_server.sampling import SamplingParams

STARTED = CompletionStarted(
    id="cmpl_1",
    create_time_s=1.0,
    model="m",
    system_fingerprint="f",
    prompt_tokens=3,
    effective_sampling=SamplingParams(max_tokens=9, seed=1),
)
ENDED = CompletionEnded(
    usage=Usage(prompt_tokens=3, completion_tokens=2),
    timings=Timings(queue_s=0, prefill_s=0, decode_s=0, first_token_s=0, total_s=0),
)


def finished(index: int = 0, *, invalid_tool_call: str = "") -> ChoiceFinished:
    return ChoiceFinished(
        index=index,
        finish_reason=FinishReason.STOP,
        stop_cause=None,
        seed=5 + index,
        completion_tokens=2,
        invalid_tool_call=invalid_tool_call,
    )


def delta(
    text: str = "", *, index: int = 0, reasoning: str = "", tool_calls: tuple[ToolCallDelta, ...] = ()
) -> ChoiceDelta:
    return ChoiceDelta(index=index, text=text, reasoning=reasoning, tool_calls=tool_calls, token_count=1)


async def collected(*events: CompletionEvent) -> Completion:
    async def stream() -> AsyncIterator[CompletionEvent]:
        for event in events:
            yield event

    return await collect(stream())


async def choice(*events: CompletionEvent) -> Choice:
    (only,) = (await collected(STARTED, *events, ENDED)).choices
    return only


async def test_text_and_reasoning_are_joined() -> None:
    message = (await choice(delta(reasoning="h"), delta(reasoning="m"), delta("Hel"), delta("lo"), finished())).message
    assert (message.reasoning, message.content) == ("hm", ("Hello",))


async def test_a_choice_without_text_has_no_content() -> None:
    message = (await choice(finished())).message
    assert (message.content, message.reasoning, message.tool_calls) == ((), "", ())


async def test_tool_calls_are_joined_by_index() -> None:
    message = (
        await choice(
            delta(tool_calls=(ToolCallDelta(index=1, id="b", name="g", arguments="{"),)),
            delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments='{"x"'),)),
            delta(tool_calls=(ToolCallDelta(index=0, arguments=": 1}"), ToolCallDelta(index=1, arguments="}"))),
            finished(),
        )
    ).message
    assert message.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x": 1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )


async def test_the_last_tool_call_is_dropped_if_it_is_malformed() -> None:
    deltas = (ToolCallDelta(index=0, id="a", name="f", arguments="{}"), ToolCallDelta(index=1, id="b", name="g"))
    only = await choice(delta(tool_calls=deltas), finished(invalid_tool_call="<tool_call>{"))
    assert [call.name for call in only.message.tool_calls] == ["f"]
    assert only.invalid_tool_call == "<tool_call>{"


async def test_log_probabilities_are_in_the_order_of_their_tokens() -> None:
    logprobs = [TokenLogprob(chosen=Logprob(token_id=i, token=b"", logprob=0.0), top=()) for i in range(3)]
    deltas = [
        ChoiceDelta(index=0, logprobs=(logprobs[0],), token_count=1),
        ChoiceDelta(index=0, logprobs=(logprobs[1], logprobs[2]), token_count=2),
    ]
    assert (await choice(*deltas, finished())).logprobs == tuple(logprobs)


async def test_choices_are_sorted_by_index_however_their_events_mix() -> None:
    completion = await collected(STARTED, delta("b", index=1), delta("a"), finished(1), delta("a"), finished(0), ENDED)
    assert [(each.index, each.message.content, each.seed) for each in completion.choices] == [
        (0, ("aa",), 5),
        (1, ("b",), 6),
    ]
    assert (completion.started, completion.ended) == (STARTED, ENDED)


@pytest.mark.parametrize(
    "events", [(), (STARTED, finished()), (finished(), ENDED)], ids=["nothing", "no end", "no start"]
)
async def test_an_incomplete_stream_is_a_bug(events: tuple[CompletionEvent, ...]) -> None:
    with pytest.raises(AssertionError, match="no CompletionStarted or no CompletionEnded"):
        await collected(*events)
