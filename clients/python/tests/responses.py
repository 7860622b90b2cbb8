"""Responses as a real server gives them, for tests to compare with; unary, and the same as a stream."""

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


def answer(
    text: str = "",
    *,
    index: int = 0,
    reasoning: str = "",
    calls: Iterable[ToolCall] = (),
    finish: int = FinishReason.FINISH_REASON_STOP,
    invalid_tool_call: str = "",
) -> Choice:
    """One answer, with what a server says of every one."""
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


def call(name: str, arguments: str, *, id: str = "abcdefghi") -> ToolCall:  # noqa: A002 - the field's name
    """A tool call."""
    return ToolCall(id=id, function=FunctionCall(name=name, arguments=arguments))


def response(*choices: Choice) -> CompleteResponse:
    """A response with these answers."""
    tokens = sum(choice.completion_tokens for choice in choices)
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
    """A response with one answer of text."""
    return response(answer(text))


def events(whole: CompleteResponse, piece: int = 3) -> list[StreamCompleteResponse]:
    """The response as a stream, in pieces of so many characters."""
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
        *(StreamCompleteResponse(delta=delta) for choice in whole.choices for delta in deltas(choice, piece)),
        *(StreamCompleteResponse(finish=finish(choice)) for choice in whole.choices),
        StreamCompleteResponse(end=StreamEnd(usage=whole.usage, timings=whole.timings)),
    ]


def deltas(choice: Choice, piece: int = 3) -> list[ChoiceDelta]:
    """One answer in pieces: reasoning, text, then each call with its name first."""
    text = "".join(part.text for part in choice.message.content)
    made = [ChoiceDelta(index=choice.index, reasoning=part) for part in _pieces(choice.message.reasoning, piece)]
    made += [ChoiceDelta(index=choice.index, text=part, token_count=1) for part in _pieces(text, piece)]
    for position, tool_call in enumerate(choice.message.tool_calls):
        begun = ToolCallDelta(index=position, id=tool_call.id, function=FunctionCallDelta(name=tool_call.function.name))
        more = [
            ToolCallDelta(index=position, function=FunctionCallDelta(arguments=part))
            for part in _pieces(tool_call.function.arguments, piece)
        ]
        made += [ChoiceDelta(index=choice.index, tool_calls=[delta]) for delta in (begun, *more)]
    if choice.logprobs:
        made.append(ChoiceDelta(index=choice.index, logprobs=choice.logprobs))
    return made


def finish(choice: Choice) -> ChoiceFinish:
    """The end of one answer."""
    return ChoiceFinish(
        index=choice.index,
        finish_reason=choice.finish_reason,
        stop_cause=choice.stop_cause if choice.HasField("stop_cause") else None,
        seed=choice.seed,
        completion_tokens=choice.completion_tokens,
        invalid_tool_call=choice.invalid_tool_call,
    )


def logprob(token: str) -> TokenLogprob:
    """A token that was drawn."""
    return TokenLogprob(chosen=Logprob(token_id=len(token), token=token.encode(), logprob=-0.5))


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
