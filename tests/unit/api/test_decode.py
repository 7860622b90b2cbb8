from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from onward.v1 import chat_pb2, completion_pb2, model_service_pb2, sampling_pb2, tokenizer_service_pb2
from onward_server import domain
from onward_server.api import decode
from onward_server.errors import InvalidReason, InvalidRequest

UNKNOWN_FIELD_500 = b"\xa2\x1f\x01x"

FULL = completion_pb2.CompleteRequest(
    model="m",
    messages=[
        chat_pb2.Message(role=chat_pb2.ROLE_SYSTEM, content=[chat_pb2.ContentPart(text="Be brief.")]),
        chat_pb2.Message(
            role=chat_pb2.ROLE_ASSISTANT,
            content=[chat_pb2.ContentPart(text="a"), chat_pb2.ContentPart(text="b")],
            tool_calls=[chat_pb2.ToolCall(id="1", function=chat_pb2.FunctionCall(name="f", arguments="{}"))],
            reasoning="hm",
            prefix=True,
        ),
        chat_pb2.Message(role=chat_pb2.ROLE_TOOL, name="f", tool_call_id="1"),
    ],
    sampling=sampling_pb2.SamplingParams(
        temperature=0.7, stop=["x"], stop_token_ids=[3], logit_bias={9: -1.5, 2: 4}, seed=5
    ),
    tools=[chat_pb2.Tool(function=chat_pb2.FunctionTool(name="f", description="d", parameters="{}", strict=True))],
    tool_choice=chat_pb2.ToolChoice(mode=chat_pb2.ToolChoice.MODE_REQUIRED, function_names=["f"]),
    parallel_tool_calls=False,
    response_format=sampling_pb2.ResponseFormat(
        json_schema=sampling_pb2.JsonSchemaFormat(schema="{}", name="n", description="d")
    ),
    n=2,
    logprobs=sampling_pb2.LogprobOptions(top_logprobs=3),
    time_limit=Duration(seconds=1, nanos=500_000_000),
    user="u",
    metadata={"k": "v"},
    reasoning_effort=chat_pb2.REASONING_EFFORT_LOW,
)


def decoded(message: completion_pb2.CompleteRequest) -> decode.Decoded:
    return decode.complete_request(message.SerializeToString())


def violated(message: completion_pb2.CompleteRequest) -> list[str]:
    return [violation.field for violation in decoded(message).violations]


def test_every_field_of_a_request_reaches_the_domain() -> None:
    assert decoded(FULL) == decode.Decoded(
        request=domain.CompletionRequest(
            model="m",
            messages=(
                domain.Message(role=domain.Role.SYSTEM, content=("Be brief.",)),
                domain.Message(
                    role=domain.Role.ASSISTANT,
                    content=("a", "b"),
                    tool_calls=(domain.ToolCall(id="1", name="f", arguments="{}"),),
                    reasoning="hm",
                    prefix=True,
                ),
                domain.Message(role=domain.Role.TOOL, name="f", tool_call_id="1"),
            ),
            sampling={
                "temperature": 0.7,
                "stop": ("x",),
                "stop_token_ids": (3,),
                "logit_bias": ((2, 4.0), (9, -1.5)),
                "seed": 5,
            },
            tools=(domain.FunctionTool(name="f", description="d", parameters="{}", strict=True),),
            tool_choice=domain.ToolChoice(mode=domain.ToolChoiceMode.REQUIRED, function_names=("f",)),
            parallel_tool_calls=False,
            response_format=domain.JsonSchemaFormat(schema="{}", name="n", description="d"),
            n=2,
            top_logprobs=3,
            time_limit_s=1.5,
            user="u",
            metadata=(("k", "v"),),
            reasoning_effort=domain.ReasoningEffort.LOW,
        ),
        violations=(),
    )


def test_an_empty_request_is_one_with_nothing_set() -> None:
    assert decode.complete_request(b"") == decode.Decoded(request=domain.CompletionRequest(), violations=())


@pytest.mark.parametrize(
    "name",
    [field.name for field in sampling_pb2.SamplingParams.DESCRIPTOR.fields if field.has_presence],
)
def test_a_sampling_parameter_set_to_zero_is_not_unset(name: str) -> None:
    message = completion_pb2.CompleteRequest()
    setattr(message.sampling, name, 0)

    assert decoded(message).request.sampling == {name: 0}


def test_counts_set_to_zero_are_not_unset() -> None:
    request = decoded(completion_pb2.CompleteRequest(n=0, logprobs=sampling_pb2.LogprobOptions())).request

    assert request.n == 0
    assert request.top_logprobs == 0


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (completion_pb2.RawPrompt(text="a"), domain.RawText(text="a")),
        (completion_pb2.RawPrompt(text="", no_special_tokens=True), domain.RawText(text="", no_special_tokens=True)),
        (completion_pb2.RawPrompt(token_ids=completion_pb2.TokenIds(ids=[1, 2])), domain.RawTokens(ids=(1, 2))),
    ],
    ids=["text", "text without special tokens", "token ids"],
)
def test_a_raw_prompt_is_text_or_token_ids(
    prompt: completion_pb2.RawPrompt, expected: domain.RawText | domain.RawTokens
) -> None:
    result = decoded(completion_pb2.CompleteRequest(raw_prompt=prompt))

    assert result.request.raw_prompt == expected
    assert result.violations == ()


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        (sampling_pb2.ResponseFormat(text=sampling_pb2.TextFormat()), None),
        (sampling_pb2.ResponseFormat(json_object=sampling_pb2.JsonObjectFormat()), domain.JsonObjectFormat()),
        (sampling_pb2.ResponseFormat(regex=sampling_pb2.RegexFormat(pattern="a+")), domain.RegexFormat(pattern="a+")),
        (
            sampling_pb2.ResponseFormat(
                grammar=sampling_pb2.GrammarFormat(
                    syntax=sampling_pb2.GrammarFormat.SYNTAX_LARK, definition="start: /a/"
                )
            ),
            domain.GrammarFormat(definition="start: /a/"),
        ),
        (
            sampling_pb2.ResponseFormat(choice=sampling_pb2.ChoiceFormat(choices=["a", "b"])),
            domain.ChoiceFormat(choices=("a", "b")),
        ),
    ],
    ids=["text", "json_object", "regex", "grammar", "choice"],
)
def test_each_response_format_has_its_type(
    response_format: sampling_pb2.ResponseFormat, expected: domain.ResponseFormat | None
) -> None:
    result = decoded(completion_pb2.CompleteRequest(response_format=response_format))

    assert result.request.response_format == expected
    assert result.violations == ()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (completion_pb2.CompleteRequest(messages=[chat_pb2.Message()]), "messages[0].role"),
        (completion_pb2.CompleteRequest(messages=[chat_pb2.Message(role=9)]), "messages[0].role"),  # pyright: ignore[reportArgumentType]
        (
            completion_pb2.CompleteRequest(
                messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart()])]
            ),
            "messages[0].content[0]",
        ),
        (
            completion_pb2.CompleteRequest(
                messages=[chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=[chat_pb2.ToolCall(id="1")])]
            ),
            "messages[0].tool_calls[0]",
        ),
        (completion_pb2.CompleteRequest(tools=[chat_pb2.Tool()]), "tools[0]"),
        (completion_pb2.CompleteRequest(tool_choice=chat_pb2.ToolChoice(mode=9)), "tool_choice.mode"),  # pyright: ignore[reportArgumentType]
        (completion_pb2.CompleteRequest(raw_prompt=completion_pb2.RawPrompt()), "raw_prompt"),
        (
            completion_pb2.CompleteRequest(
                raw_prompt=completion_pb2.RawPrompt(token_ids=completion_pb2.TokenIds(), no_special_tokens=True)
            ),
            "raw_prompt.no_special_tokens",
        ),
        (completion_pb2.CompleteRequest(response_format=sampling_pb2.ResponseFormat()), "response_format"),
        (
            completion_pb2.CompleteRequest(
                response_format=sampling_pb2.ResponseFormat(grammar=sampling_pb2.GrammarFormat(definition="x"))
            ),
            "response_format.grammar.syntax",
        ),
        (completion_pb2.CompleteRequest(reasoning_effort=9), "reasoning_effort"),  # pyright: ignore[reportArgumentType]
        (completion_pb2.CompleteRequest(time_limit=Duration(seconds=1, nanos=-1)), "time_limit"),
        (completion_pb2.CompleteRequest(time_limit=Duration(nanos=10**9)), "time_limit"),
        (completion_pb2.CompleteRequest(time_limit=Duration(seconds=315_576_000_001)), "time_limit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_the_domain_cannot_hold_is_a_violation(
    message: completion_pb2.CompleteRequest, field: str
) -> None:
    assert violated(message) == [field]


def test_every_violation_of_a_request_is_found_at_once() -> None:
    message = completion_pb2.CompleteRequest(
        messages=[chat_pb2.Message(), chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart()])],
        response_format=sampling_pb2.ResponseFormat(),
    )

    assert violated(message) == ["messages[0].role", "messages[1].content[0]", "response_format"]


def test_a_bad_message_has_the_reason_invalid_messages() -> None:
    (violation,) = decoded(completion_pb2.CompleteRequest(messages=[chat_pb2.Message()])).violations

    assert violation.reason is InvalidReason.INVALID_MESSAGES


PARTS: dict[str, Callable[[completion_pb2.CompleteRequest], Message]] = {
    "": lambda request: request,
    "messages[2].": lambda request: request.messages[2],
    "messages[1].content[1].": lambda request: request.messages[1].content[1],
    "messages[1].tool_calls[0].function.": lambda request: request.messages[1].tool_calls[0].function,
    "sampling.": lambda request: request.sampling,
    "tools[0].function.": lambda request: request.tools[0].function,
    "response_format.json_schema.": lambda request: request.response_format.json_schema,
    "time_limit.": lambda request: request.time_limit,
}


@pytest.mark.parametrize("path", PARTS)
def test_an_unknown_field_is_rejected_at_any_depth(path: str) -> None:
    message = completion_pb2.CompleteRequest()
    message.CopyFrom(FULL)
    part = PARTS[path](message)
    part.MergeFromString(UNKNOWN_FIELD_500)

    (violation,) = decoded(message).violations
    assert violation.field == f"{path}500"
    assert f"{part.DESCRIPTOR.full_name} has no field 500" in violation.description


def test_paths_do_not_name_the_message_that_carries_the_request() -> None:
    bad = completion_pb2.CompleteRequest(messages=[chat_pb2.Message()])
    carriers = [
        decode.stream_complete_request(completion_pb2.StreamCompleteRequest(request=bad).SerializeToString()),
        decode.count_tokens_request(tokenizer_service_pb2.CountTokensRequest(request=bad).SerializeToString()),
        decode.tokenize_request(tokenizer_service_pb2.TokenizeRequest(request=bad).SerializeToString()),
    ]

    assert [carrier.violations for carrier in carriers] == [decoded(bad).violations] * 3


DECODERS: list[tuple[Callable[[bytes], object], Message]] = [
    (decode.complete_request, completion_pb2.CompleteRequest()),
    (decode.stream_complete_request, completion_pb2.StreamCompleteRequest(request=FULL)),
    (decode.count_tokens_request, tokenizer_service_pb2.CountTokensRequest(request=FULL)),
    (decode.tokenize_request, tokenizer_service_pb2.TokenizeRequest(text="a")),
    (decode.detokenize_request, tokenizer_service_pb2.DetokenizeRequest()),
    (decode.list_models_request, model_service_pb2.ListModelsRequest()),
    (decode.get_model_request, model_service_pb2.GetModelRequest(model="m")),
]


def violations_of(decoder: Callable[[bytes], object], data: bytes) -> list[str]:
    """The violations that a decoder returns or raises."""
    try:
        result = decoder(data)
    except InvalidRequest as error:
        return [violation.field for violation in error.violations]
    return [violation.field for violation in getattr(result, "violations", ())]


@pytest.mark.parametrize(("decoder", "message"), DECODERS, ids=[message.DESCRIPTOR.name for _, message in DECODERS])
def test_every_request_message_rejects_unknown_fields(decoder: Callable[[bytes], object], message: Message) -> None:
    data = message.SerializeToString()

    assert violations_of(decoder, data) == []
    assert violations_of(decoder, data + UNKNOWN_FIELD_500) == ["500"]


@pytest.mark.parametrize(("decoder", "message"), DECODERS, ids=[message.DESCRIPTOR.name for _, message in DECODERS])
def test_bytes_that_are_not_the_message_are_an_invalid_request(
    decoder: Callable[[bytes], object], message: Message
) -> None:
    assert violations_of(decoder, b"\xff\xff") == [message.DESCRIPTOR.full_name]


@pytest.mark.parametrize(
    ("decoder", "message", "fields"),
    [
        (decode.stream_complete_request, completion_pb2.StreamCompleteRequest(), ["request"]),
        (decode.count_tokens_request, tokenizer_service_pb2.CountTokensRequest(), ["request"]),
        (decode.tokenize_request, tokenizer_service_pb2.TokenizeRequest(), ["input"]),
        (
            decode.tokenize_request,
            tokenizer_service_pb2.TokenizeRequest(request=FULL, model="m", no_special_tokens=True),
            ["model", "no_special_tokens"],
        ),
        (decode.list_models_request, model_service_pb2.ListModelsRequest(page_size=1001), ["page_size"]),
        (decode.list_models_request, model_service_pb2.ListModelsRequest(page_size=-1), ["page_size"]),
        (decode.get_model_request, model_service_pb2.GetModelRequest(), ["model"]),
    ],
    ids=lambda value: value.DESCRIPTOR.name if isinstance(value, Message) else "",
)
def test_a_bad_field_of_another_request_is_named(
    decoder: Callable[[bytes], object], message: Message, fields: list[str]
) -> None:
    assert violations_of(decoder, message.SerializeToString()) == fields


def test_a_list_over_the_limit_is_not_read() -> None:
    result = decode.complete_request(b"\x12\x00" * 100_000)

    assert result.request.messages == ()
    assert [violation.field for violation in result.violations] == ["messages"]


def test_violations_over_the_limit_are_not_collected() -> None:
    result = decode.complete_request(UNKNOWN_FIELD_500 * 10_000 + b"\x12\x00" * 1000)

    assert len(result.violations) == 64


def test_the_limit_on_items_applies_to_the_whole_request() -> None:
    parts = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="")] * 10_000)
    message = completion_pb2.CompleteRequest(messages=[parts, parts])

    assert violated(message) == ["messages[1].content"]


def test_many_bytes_of_unknown_fields_are_rejected_without_a_search() -> None:
    (violation,) = decode.complete_request(UNKNOWN_FIELD_500 * 100_000).violations

    assert violation.field == "onward.v1.CompleteRequest"
    assert "400000 bytes" in violation.description


def test_an_unknown_field_that_the_search_does_not_reach_is_still_rejected() -> None:
    message = completion_pb2.CompleteRequest(messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER)] * 20_000)
    message.messages[-1].MergeFromString(UNKNOWN_FIELD_500)

    assert violated(message) == ["onward.v1.CompleteRequest", "messages"]
