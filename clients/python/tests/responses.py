"""Builds responses as a real server sends them: unary, and the same response as a stream of events."""

from collections.abc import Iterable
from typing import cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onward.v1.chat_pb2 import ContentPart, FunctionCall, Message, Role, ToolCall
from onward.v1.completion_pb2 import (
    Choice,
    ChoiceDelta,
    ChoiceFinish,
    CompleteResponse,
    FunctionCallDelta,
    StreamCompleteResponse,
    StreamEnd,
    StreamStart,
    ToolCallDelta,
)
from onward.v1.sampling_pb2 import SamplingParams
from onward.v1.usage_pb2 import FinishReason, Logprob, StopCause, Timings, TokenLogprob, Usage


def choice(
    text: str = "",
    *,
    index: int = 0,
    reasoning: str = "",
    calls: Iterable[ToolCall] = (),
    finish: int = FinishReason.FINISH_REASON_STOP,
    invalid_tool_call: str = "",
) -> Choice:
    """A choice with the fields that a server always sets."""
    return Choice(
        index=index,
        message=Message(
            role=Role.ROLE_ASSISTANT,
            content=[ContentPart(text=text)] if text else [],
            reasoning=reasoning,
            tool_calls=calls,
        ),
        finish_reason=cast("FinishReason", finish),
        stop_cause=StopCause(eos_token_id=2) if finish == FinishReason.FINISH_REASON_STOP else None,
        seed=17 + index,
        completion_tokens=max(1, len(text)),
        invalid_tool_call=invalid_tool_call,
    )


def tool_call(name: str, arguments: str, *, id: str = "abcdefghi") -> ToolCall:  # noqa: A002 - the field's name
    """A tool call."""
    return ToolCall(id=id, function=FunctionCall(name=name, arguments=arguments))


def response(*choices: Choice) -> CompleteResponse:
    """A response with these choices."""
    tokens = sum(each.completion_tokens for each in choices)
    return CompleteResponse(
        id="cmpl-1",
        create_time=Timestamp(seconds=1_790_000_000),
        model="pocket",
        system_fingerprint="fp-1",
        choices=choices,
        usage=Usage(prompt_tokens=5, completion_tokens=tokens, total_tokens=5 + tokens, cached_prompt_tokens=2),
        timings=Timings(total=Duration(nanos=5_000_000)),
        effective_sampling=SamplingParams(temperature=0.7, stop=["END"]),
    )


def text_response(text: str = "Hello, world.") -> CompleteResponse:
    """A response with one choice of text."""
    return response(choice(text))


def events(whole: CompleteResponse, piece: int = 3) -> list[StreamCompleteResponse]:
    """The same response as a stream, in pieces of `piece` characters."""
    start = StreamStart(
        id=whole.id,
        create_time=whole.create_time,
        model=whole.model,
        system_fingerprint=whole.system_fingerprint,
        prompt_tokens=whole.usage.prompt_tokens,
        cached_prompt_tokens=whole.usage.cached_prompt_tokens,
        effective_sampling=whole.effective_sampling,
    )
    return [
        StreamCompleteResponse(start=start),
        *(StreamCompleteResponse(delta=delta) for each in whole.choices for delta in deltas(each, piece)),
        *(StreamCompleteResponse(finish=finish(each)) for each in whole.choices),
        StreamCompleteResponse(end=StreamEnd(usage=whole.usage, timings=whole.timings)),
    ]


def deltas(whole: Choice, piece: int = 3) -> list[ChoiceDelta]:
    """A choice in pieces: reasoning, then text, then each tool call with its name first."""
    text = "".join(part.text for part in whole.message.content)
    made = [ChoiceDelta(index=whole.index, reasoning=part) for part in _pieces(whole.message.reasoning, piece)]
    made += [ChoiceDelta(index=whole.index, text=part, token_count=1) for part in _pieces(text, piece)]
    for position, called in enumerate(whole.message.tool_calls):
        begun = ToolCallDelta(index=position, id=called.id, function=FunctionCallDelta(name=called.function.name))
        more = [
            ToolCallDelta(index=position, function=FunctionCallDelta(arguments=part))
            for part in _pieces(called.function.arguments, piece)
        ]
        made += [ChoiceDelta(index=whole.index, tool_calls=[delta]) for delta in (begun, *more)]
    if whole.logprobs:
        made.append(ChoiceDelta(index=whole.index, logprobs=whole.logprobs))
    return made


def finish(whole: Choice) -> ChoiceFinish:
    """The event that ends a choice."""
    return ChoiceFinish(
        index=whole.index,
        finish_reason=whole.finish_reason,
        stop_cause=whole.stop_cause if whole.HasField("stop_cause") else None,
        seed=whole.seed,
        completion_tokens=whole.completion_tokens,
        invalid_tool_call=whole.invalid_tool_call,
    )


def logprob(token: str) -> TokenLogprob:
    """A sampled token."""
    return TokenLogprob(chosen=Logprob(token_id=len(token), token=token.encode(), logprob=-0.5))


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
