import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onward.v1 import chat_pb2, completion_pb2, model_service_pb2, sampling_pb2, tokenizer_service_pb2, usage_pb2
from onward_server import domain
from onward_server.api import encode
from onward_server.sampling import SamplingParams
from testing.fakes_completion import CARD

STARTED = domain.CompletionStarted(
    id="c1",
    create_time_s=1_700_000_000.25,
    model="m",
    system_fingerprint="fp",
    prompt_tokens=3,
    cached_prompt_tokens=1,
    effective_sampling=SamplingParams(
        temperature=0.7, max_tokens=5, seed=9, stop=("x",), stop_token_ids=(4,), logit_bias=((2, 1.5),)
    ),
)
ENDED = domain.CompletionEnded(
    usage=domain.Usage(prompt_tokens=3, completion_tokens=4, cached_prompt_tokens=1, reasoning_tokens=2),
    timings=domain.Timings(queue_s=0.5, prefill_s=1.25, decode_s=0, first_token_s=0.001, total_s=2),
)
LOGPROB = domain.TokenLogprob(
    chosen=domain.Logprob(token_id=1, token=b"\xf0\x9f", logprob=-0.5),
    top=(domain.Logprob(token_id=2, token=b"a", logprob=-1.5),),
)
PB_LOGPROB = usage_pb2.TokenLogprob(
    chosen=usage_pb2.Logprob(token_id=1, token=b"\xf0\x9f", logprob=-0.5),
    top=[usage_pb2.Logprob(token_id=2, token=b"a", logprob=-1.5)],
)
PB_SAMPLING = sampling_pb2.SamplingParams(
    temperature=0.7,
    top_p=1,
    top_k=0,
    min_p=0,
    frequency_penalty=0,
    presence_penalty=0,
    repetition_penalty=1,
    max_tokens=5,
    min_tokens=0,
    stop=["x"],
    stop_token_ids=[4],
    include_stop=False,
    ignore_eos=False,
    logit_bias={2: 1.5},
    seed=9,
)
PB_USAGE = usage_pb2.Usage(
    prompt_tokens=3, completion_tokens=4, total_tokens=7, cached_prompt_tokens=1, reasoning_tokens=2
)
PB_TIMINGS = usage_pb2.Timings(
    queue=Duration(nanos=500_000_000),
    prefill=Duration(seconds=1, nanos=250_000_000),
    decode=Duration(),
    first_token=Duration(nanos=1_000_000),
    total=Duration(seconds=2),
)
CREATE_TIME = Timestamp(seconds=1_700_000_000, nanos=250_000_000)


def test_a_completion_becomes_a_response() -> None:
    choice = domain.Choice(
        index=0,
        message=domain.Message(
            role=domain.Role.ASSISTANT,
            content=("Hi",),
            tool_calls=(domain.ToolCall(id="1", name="f", arguments="{}"),),
            reasoning="hm",
        ),
        finish_reason=domain.FinishReason.TOOL_CALLS,
        stop_cause=None,
        logprobs=(LOGPROB,),
        seed=9,
        completion_tokens=4,
        invalid_tool_call="f(",
    )

    assert encode.completion(
        domain.Completion(started=STARTED, choices=(choice,), ended=ENDED)
    ) == completion_pb2.CompleteResponse(
        id="c1",
        create_time=CREATE_TIME,
        model="m",
        system_fingerprint="fp",
        choices=[
            completion_pb2.Choice(
                message=chat_pb2.Message(
                    role=chat_pb2.ROLE_ASSISTANT,
                    content=[chat_pb2.ContentPart(text="Hi")],
                    tool_calls=[chat_pb2.ToolCall(id="1", function=chat_pb2.FunctionCall(name="f", arguments="{}"))],
                    reasoning="hm",
                ),
                finish_reason=usage_pb2.FINISH_REASON_TOOL_CALLS,
                logprobs=[PB_LOGPROB],
                seed=9,
                completion_tokens=4,
                invalid_tool_call="f(",
            )
        ],
        usage=PB_USAGE,
        timings=PB_TIMINGS,
        effective_sampling=PB_SAMPLING,
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            STARTED,
            completion_pb2.StreamCompleteResponse(
                start=completion_pb2.StreamStart(
                    id="c1",
                    create_time=CREATE_TIME,
                    model="m",
                    system_fingerprint="fp",
                    prompt_tokens=3,
                    cached_prompt_tokens=1,
                    effective_sampling=PB_SAMPLING,
                )
            ),
        ),
        (
            domain.ChoiceDelta(
                index=1,
                text="a",
                reasoning="b",
                tool_calls=(domain.ToolCallDelta(index=2, id="1", name="f", arguments="{"),),
                logprobs=(LOGPROB,),
                token_count=3,
            ),
            completion_pb2.StreamCompleteResponse(
                delta=completion_pb2.ChoiceDelta(
                    index=1,
                    text="a",
                    reasoning="b",
                    tool_calls=[
                        completion_pb2.ToolCallDelta(
                            index=2, id="1", function=completion_pb2.FunctionCallDelta(name="f", arguments="{")
                        )
                    ],
                    logprobs=[PB_LOGPROB],
                    token_count=3,
                )
            ),
        ),
        (
            domain.ChoiceFinished(
                index=1, finish_reason=domain.FinishReason.LENGTH, seed=9, completion_tokens=4, invalid_tool_call="f("
            ),
            completion_pb2.StreamCompleteResponse(
                finish=completion_pb2.ChoiceFinish(
                    index=1,
                    finish_reason=usage_pb2.FINISH_REASON_LENGTH,
                    seed=9,
                    completion_tokens=4,
                    invalid_tool_call="f(",
                )
            ),
        ),
        (
            ENDED,
            completion_pb2.StreamCompleteResponse(end=completion_pb2.StreamEnd(usage=PB_USAGE, timings=PB_TIMINGS)),
        ),
    ],
    ids=["start", "delta", "finish", "end"],
)
def test_each_event_has_its_arm(event: domain.CompletionEvent, expected: completion_pb2.StreamCompleteResponse) -> None:
    assert encode.completion_event(event) == expected


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (domain.StopString("x"), usage_pb2.StopCause(stop_string="x")),
        (domain.StopToken(0), usage_pb2.StopCause(stop_token_id=0)),
        (domain.EndOfSequence(2), usage_pb2.StopCause(eos_token_id=2)),
        (domain.ConstraintComplete(), usage_pb2.StopCause(constraint_complete=True)),
    ],
)
def test_each_stop_cause_has_its_arm(cause: domain.StopCause, expected: usage_pb2.StopCause) -> None:
    event = domain.ChoiceFinished(
        index=0, finish_reason=domain.FinishReason.STOP, stop_cause=cause, seed=0, completion_tokens=1
    )

    assert encode.completion_event(event).finish.stop_cause == expected


@pytest.mark.parametrize("reason", domain.FinishReason)
def test_each_finish_reason_has_its_value(reason: domain.FinishReason) -> None:
    event = domain.ChoiceFinished(index=0, finish_reason=reason, seed=0, completion_tokens=1)

    value = encode.completion_event(event).finish.finish_reason
    assert usage_pb2.FinishReason.Name(value) == f"FINISH_REASON_{reason.name}"


def test_a_model_has_only_the_defaults_of_its_card() -> None:
    model = encode.model(CARD)

    assert model == model_service_pb2.Model(
        id="fake",
        aliases=["default"],
        is_default=True,
        state=model_service_pb2.Model.STATE_READY,
        create_time=CREATE_TIME,
        system_fingerprint="fp-1",
        context_length=128,
        max_output_tokens=127,
        vocabulary_size=256,
        default_sampling=sampling_pb2.SamplingParams(temperature=0.7, max_tokens=16),
        capabilities=model_service_pb2.ModelCapabilities(
            chat=True, system_role=True, max_n=4, max_top_logprobs=20, deterministic=True
        ),
        precision="fp32",
        execution_provider="CPUExecutionProvider",
        tool_format="hermes",
        reasoning_format="none",
    )


def test_prompt_tokens_keep_their_bytes_and_offsets() -> None:
    token = domain.PromptToken(id=7, token=b"\xff", start_offset=1, end_offset=2)

    assert encode.tokens([token]) == [tokenizer_service_pb2.Token(id=7, token=b"\xff", start_offset=1, end_offset=2)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, Duration()),
        (0.9999999999, Duration(seconds=1)),
        (1e-9, Duration(nanos=1)),
        (59.5, Duration(seconds=59, nanos=500_000_000)),
    ],
)
def test_a_duration_is_rounded_to_nanoseconds(seconds: float, expected: Duration) -> None:
    assert encode.duration(seconds) == expected
