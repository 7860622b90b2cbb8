"""Converts domain objects to protobuf messages: one function for each message."""

from collections.abc import Sequence
from typing import Any, assert_never

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onward.v1 import chat_pb2, completion_pb2, model_service_pb2, sampling_pb2, tokenizer_service_pb2, usage_pb2
from onward_server import domain
from onward_server.sampling import SamplingOverrides

_NANOS = 10**9

_ROLES = {
    domain.Role.SYSTEM: chat_pb2.ROLE_SYSTEM,
    domain.Role.USER: chat_pb2.ROLE_USER,
    domain.Role.ASSISTANT: chat_pb2.ROLE_ASSISTANT,
    domain.Role.TOOL: chat_pb2.ROLE_TOOL,
}
FINISH_REASONS = {
    domain.FinishReason.STOP: usage_pb2.FINISH_REASON_STOP,
    domain.FinishReason.LENGTH: usage_pb2.FINISH_REASON_LENGTH,
    domain.FinishReason.CONTEXT_LENGTH: usage_pb2.FINISH_REASON_CONTEXT_LENGTH,
    domain.FinishReason.TOOL_CALLS: usage_pb2.FINISH_REASON_TOOL_CALLS,
    domain.FinishReason.TIME_LIMIT: usage_pb2.FINISH_REASON_TIME_LIMIT,
    domain.FinishReason.INVALID_TOOL_CALL: usage_pb2.FINISH_REASON_INVALID_TOOL_CALL,
}


def completion(completed: domain.Completion) -> completion_pb2.CompleteResponse:
    """`CompleteResponse`."""
    return completion_pb2.CompleteResponse(
        id=completed.started.id,
        create_time=_timestamp(completed.started.create_time_s),
        model=completed.started.model,
        system_fingerprint=completed.started.system_fingerprint,
        choices=[_choice(choice) for choice in completed.choices],
        usage=_usage(completed.ended.usage),
        timings=_timings(completed.ended.timings),
        effective_sampling=sampling(completed.started.effective_sampling.values()),
    )


def completion_event(event: domain.CompletionEvent) -> completion_pb2.StreamCompleteResponse:
    """`StreamCompleteResponse`."""
    match event:
        case domain.CompletionStarted():
            return completion_pb2.StreamCompleteResponse(start=_start(event))
        case domain.ChoiceDelta():
            return _delta(event)
        case domain.ChoiceFinished():
            return completion_pb2.StreamCompleteResponse(finish=_finish(event))
        case domain.CompletionEnded(usage=usage, timings=timings):
            end = completion_pb2.StreamEnd(usage=_usage(usage), timings=_timings(timings))
            return completion_pb2.StreamCompleteResponse(end=end)
        case _:
            assert_never(event)


def sampling(values: SamplingOverrides) -> sampling_pb2.SamplingParams:
    """`SamplingParams` with these fields set; the others stay unset."""
    fields: dict[str, Any] = dict(values)
    fields["logit_bias"] = dict(fields.get("logit_bias", ()))
    return sampling_pb2.SamplingParams(**fields)


def model(card: domain.ModelCard) -> model_service_pb2.Model:
    """`Model`."""
    capabilities = card.capabilities
    return model_service_pb2.Model(
        id=card.id,
        aliases=card.aliases,
        is_default=card.is_default,
        state=model_service_pb2.Model.STATE_READY,
        create_time=_timestamp(card.create_time_s),
        system_fingerprint=card.system_fingerprint,
        context_length=card.context_length,
        max_output_tokens=card.max_output_tokens,
        vocabulary_size=card.vocabulary_size,
        default_sampling=sampling(card.default_sampling),
        capabilities=model_service_pb2.ModelCapabilities(
            chat=capabilities.chat,
            tools=capabilities.tools,
            system_role=capabilities.system_role,
            structured_output=capabilities.structured_output,
            max_n=capabilities.max_n,
            max_top_logprobs=capabilities.max_top_logprobs,
            deterministic=capabilities.deterministic,
            reasoning=capabilities.reasoning,
        ),
        precision=card.precision,
        execution_provider=card.execution_provider,
        tool_format=card.tool_format,
        reasoning_format=card.reasoning_format,
    )


def tokens(prompt_tokens: Sequence[domain.PromptToken]) -> list[tokenizer_service_pb2.Token]:
    """`Token`s of a prompt."""
    return [
        tokenizer_service_pb2.Token(
            id=token.id, token=token.token, start_offset=token.start_offset, end_offset=token.end_offset
        )
        for token in prompt_tokens
    ]


def _choice(choice: domain.Choice) -> completion_pb2.Choice:
    return completion_pb2.Choice(
        index=choice.index,
        message=_message(choice.message),
        finish_reason=FINISH_REASONS[choice.finish_reason],
        stop_cause=_stop_cause(choice.stop_cause),
        logprobs=[_token_logprob(logprob) for logprob in choice.logprobs],
        seed=choice.seed,
        completion_tokens=choice.completion_tokens,
        invalid_tool_call=choice.invalid_tool_call,
    )


def _message(message: domain.Message) -> chat_pb2.Message:
    return chat_pb2.Message(
        role=_ROLES[message.role],
        content=[chat_pb2.ContentPart(text=text) for text in message.content],
        name=message.name,
        tool_calls=[
            chat_pb2.ToolCall(id=call.id, function=chat_pb2.FunctionCall(name=call.name, arguments=call.arguments))
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning,
        prefix=message.prefix,
    )


def _start(event: domain.CompletionStarted) -> completion_pb2.StreamStart:
    return completion_pb2.StreamStart(
        id=event.id,
        create_time=_timestamp(event.create_time_s),
        model=event.model,
        system_fingerprint=event.system_fingerprint,
        prompt_tokens=event.prompt_tokens,
        cached_prompt_tokens=event.cached_prompt_tokens,
        effective_sampling=sampling(event.effective_sampling.values()),
    )


def _delta(event: domain.ChoiceDelta) -> completion_pb2.StreamCompleteResponse:
    """Fills the message in place, as there is one per token: keyword arguments and a copy take six times as long."""
    message = completion_pb2.StreamCompleteResponse()
    delta = message.delta
    delta.index = event.index
    delta.text = event.text
    delta.reasoning = event.reasoning
    delta.token_count = event.token_count
    if event.tool_calls:
        delta.tool_calls.extend(_tool_call_delta(call) for call in event.tool_calls)
    if event.logprobs:
        delta.logprobs.extend(_token_logprob(logprob) for logprob in event.logprobs)
    return message


def _tool_call_delta(delta: domain.ToolCallDelta) -> completion_pb2.ToolCallDelta:
    function = completion_pb2.FunctionCallDelta(name=delta.name, arguments=delta.arguments)
    return completion_pb2.ToolCallDelta(index=delta.index, id=delta.id, function=function)


def _finish(event: domain.ChoiceFinished) -> completion_pb2.ChoiceFinish:
    return completion_pb2.ChoiceFinish(
        index=event.index,
        finish_reason=FINISH_REASONS[event.finish_reason],
        stop_cause=_stop_cause(event.stop_cause),
        seed=event.seed,
        completion_tokens=event.completion_tokens,
        invalid_tool_call=event.invalid_tool_call,
    )


def _stop_cause(cause: domain.StopCause | None) -> usage_pb2.StopCause | None:
    match cause:
        case None:
            return None
        case domain.StopString(text):
            return usage_pb2.StopCause(stop_string=text)
        case domain.StopToken(token_id):
            return usage_pb2.StopCause(stop_token_id=token_id)
        case domain.EndOfSequence(token_id):
            return usage_pb2.StopCause(eos_token_id=token_id)
        case domain.ConstraintComplete():
            return usage_pb2.StopCause(constraint_complete=True)
        case _:
            assert_never(cause)


def _token_logprob(logprob: domain.TokenLogprob) -> usage_pb2.TokenLogprob:
    return usage_pb2.TokenLogprob(
        chosen=_logprob(logprob.chosen), top=[_logprob(alternative) for alternative in logprob.top]
    )


def _logprob(logprob: domain.Logprob) -> usage_pb2.Logprob:
    return usage_pb2.Logprob(token_id=logprob.token_id, token=logprob.token, logprob=logprob.logprob)


def _usage(usage: domain.Usage) -> usage_pb2.Usage:
    return usage_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _timings(timings: domain.Timings) -> usage_pb2.Timings:
    return usage_pb2.Timings(
        queue=duration(timings.queue_s),
        prefill=duration(timings.prefill_s),
        decode=duration(timings.decode_s),
        first_token=duration(timings.first_token_s),
        total=duration(timings.total_s),
    )


def duration(seconds: float) -> Duration:
    """`google.protobuf.Duration` of zero or more seconds."""
    whole, nanos = divmod(round(seconds * _NANOS), _NANOS)
    return Duration(seconds=whole, nanos=nanos)


def _timestamp(unix_s: float) -> Timestamp:
    """A Unix time, rounded to the microseconds that a float can hold."""
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(unix_s * 10**6))
    return timestamp
