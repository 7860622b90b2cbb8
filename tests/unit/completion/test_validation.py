"""The rules of validation: which field each one names, and that valid requests pass."""

import dataclasses
import math

import pytest

from onward_server.completion.validation import ModelLimits, validate
from onward_server.domain import (
    ChoiceFormat,
    CompletionRequest,
    FunctionTool,
    Message,
    ModelCapabilities,
    RawText,
    RawTokens,
    ReasoningEffort,
    Role,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
)
from onward_server.errors import FieldViolation, InvalidReason, InvalidRequest
from onward_server.sampling import SamplingValue
from testing.fakes_completion import CARD

ABLE = ModelCapabilities(
    chat=True,
    tools=True,
    system_role=True,
    structured_output=True,
    max_n=4,
    max_top_logprobs=20,
    deterministic=True,
    reasoning=True,
)
UNABLE = dataclasses.replace(ABLE, chat=False, tools=False, system_role=False, structured_output=False, reasoning=False)
USER = Message(role=Role.USER, content=("Hi",))
CALL = ToolCall(id="a", name="f", arguments="{}")
CALLED = Message(role=Role.ASSISTANT, tool_calls=(CALL,))
RESULT = Message(role=Role.TOOL, content=("1",), tool_call_id="a")
TOOL = FunctionTool(name="f")


def limits(capabilities: ModelCapabilities = ABLE) -> ModelLimits:
    card = dataclasses.replace(CARD, capabilities=capabilities)
    tools_fault = "" if capabilities.tools else "the model takes no tools"
    return ModelLimits(card=card, num_sampleable=100, eos_token_ids=frozenset({2}), tools_fault=tools_fault)


def violations(request: CompletionRequest, capabilities: ModelCapabilities = ABLE) -> tuple[FieldViolation, ...]:
    try:
        validate(request, limits(capabilities))
    except InvalidRequest as error:
        return error.violations
    return ()


def chat(*messages: Message, **options: object) -> CompletionRequest:
    return CompletionRequest(messages=messages, **options)  # type: ignore[arg-type]


def sampling(**values: SamplingValue) -> CompletionRequest:
    return chat(USER, sampling=values)


def json_of(num_bytes: int) -> str:
    """A JSON object of `num_bytes` bytes."""
    return '{"a":"' + "x" * (num_bytes - 8) + '"}'


def nested(levels: int) -> str:
    """A JSON object with `levels` levels of nesting."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def offering(**fields: str) -> CompletionRequest:
    return chat(USER, tools=(dataclasses.replace(TOOL, **fields),))


def calling(**fields: str) -> CompletionRequest:
    """A conversation with a tool call without a result."""
    return chat(USER, dataclasses.replace(CALLED, tool_calls=(dataclasses.replace(CALL, **fields),)), USER)


def named(name: str) -> CompletionRequest:
    return chat(dataclasses.replace(USER, name=name))


GOOD = {
    "a message": chat(USER),
    "leading system messages": chat(
        Message(role=Role.SYSTEM, content=("a",)), Message(role=Role.SYSTEM, content=("b",)), USER
    ),
    "a tool's result": chat(USER, CALLED, RESULT),
    "a result without its call's id": chat(USER, CALLED, dataclasses.replace(RESULT, tool_call_id="")),
    "an id that is used again after its result": chat(USER, CALLED, RESULT, CALLED, RESULT),
    "an id that is used again in parallel calls": chat(
        USER,
        CALLED,
        RESULT,
        dataclasses.replace(CALLED, tool_calls=(CALL, dataclasses.replace(CALL, id="b"))),
        RESULT,
        dataclasses.replace(RESULT, tool_call_id="b"),
    ),
    "messages without content": chat(
        Message(role=Role.SYSTEM),
        Message(role=Role.USER),
        Message(role=Role.ASSISTANT),
        Message(role=Role.USER),
        CALLED,
        dataclasses.replace(RESULT, content=()),
    ),
    "messages with an empty text": chat(
        *(Message(role=role, content=("",)) for role in (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER)),
    ),
    "an assistant's reasoning without content": chat(USER, Message(role=Role.ASSISTANT, reasoning="hm"), USER),
    "a prefix": chat(USER, Message(role=Role.ASSISTANT, content=("Well",), prefix=True)),
    "a prefix of reasoning": chat(USER, Message(role=Role.ASSISTANT, reasoning="hm", prefix=True)),
    "raw text": CompletionRequest(raw_prompt=RawText(text="")),
    "raw tokens": CompletionRequest(raw_prompt=RawTokens(ids=(0, 99))),
    "bounds, low": sampling(temperature=0, top_p=1e-9, top_k=0, min_p=0, frequency_penalty=-2, max_tokens=1),
    "bounds, high": sampling(temperature=2, top_p=1, min_p=1, presence_penalty=2, repetition_penalty=2, max_tokens=127),
    "stops": sampling(stop=("x" * 256,) * 16, stop_token_ids=(99,) * 64),
    "a bias": sampling(logit_bias=((0, -100.0), (99, 100.0))),
    "a tool": chat(USER, tools=(TOOL,), tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED, function_names=("f",))),
    "128 names to choose from": chat(USER, tools=(TOOL,), tool_choice=ToolChoice(function_names=("f",) * 128)),
    "parameters of 128 KiB": offering(parameters=json_of(2**17)),
    "parameters of 100 levels": offering(parameters=nested(100)),
    "arguments of 1 MiB": calling(arguments=json_of(2**20)),
    "arguments of 100 levels": calling(arguments=nested(100)),
    "arguments with escaped characters": calling(arguments=r'{"\u00e9":"\ud83d\ude00 \\ud800"}'),
    "a call's id of 256 bytes": calling(id="é" * 128),
    "a call's name of 64 bytes": calling(name="f" * 64),
    "a name of 256 bytes": named("é" * 128),
    "a format": chat(USER, response_format=ChoiceFormat(choices=("a",)), tools=(TOOL,)),
    "options": chat(USER, n=4, top_logprobs=20, time_limit_s=0.1, reasoning_effort=ReasoningEffort.LOW),
}

MESSAGES, PARAMETER = InvalidReason.INVALID_MESSAGES, InvalidReason.INVALID_PARAMETER
UNSUPPORTED = InvalidReason.UNSUPPORTED_BY_MODEL
ARGUMENTS, PARAMETERS = "messages[1].tool_calls[0].function.arguments", "tools[0].function.parameters"

BAD: dict[str, tuple[CompletionRequest, str, InvalidReason]] = {
    "nothing": (CompletionRequest(), "messages", PARAMETER),
    "both": (chat(USER, raw_prompt=RawText(text="a")), "messages", PARAMETER),
    "no tokens": (CompletionRequest(raw_prompt=RawTokens(ids=())), "raw_prompt.token_ids.ids", PARAMETER),
    "a token too high": (
        CompletionRequest(raw_prompt=RawTokens(ids=(1, 100))),
        "raw_prompt.token_ids.ids[1]",
        PARAMETER,
    ),
    "a late system message": (
        chat(USER, Message(role=Role.SYSTEM, content=("a",)), USER),
        "messages[1].role",
        MESSAGES,
    ),
    "the assistant last": (chat(USER, Message(role=Role.ASSISTANT, content=("a",))), "messages[1].role", MESSAGES),
    "the system last": (chat(Message(role=Role.SYSTEM, content=("a",))), "messages[0].role", MESSAGES),
    "a user's tool call": (
        chat(Message(role=Role.USER, content=("a",), tool_calls=(CALL,))),
        "messages[0].tool_calls",
        MESSAGES,
    ),
    "a user's reasoning": (
        chat(Message(role=Role.USER, content=("a",), reasoning="b")),
        "messages[0].reasoning",
        MESSAGES,
    ),
    "a user's prefix": (chat(Message(role=Role.USER, content=("a",), prefix=True)), "messages[0].prefix", MESSAGES),
    "a prefix in the middle": (
        chat(Message(role=Role.ASSISTANT, content=("a",), prefix=True), USER),
        "messages[0].prefix",
        MESSAGES,
    ),
    "a user's tool_call_id": (
        chat(USER, CALLED, Message(role=Role.USER, content=("1",), tool_call_id="a")),
        "messages[2].tool_call_id",
        MESSAGES,
    ),
    "a result without an id for no call": (
        chat(USER, CALLED, RESULT, dataclasses.replace(RESULT, tool_call_id="")),
        "messages[3].tool_call_id",
        MESSAGES,
    ),
    "a result of no call": (chat(USER, RESULT), "messages[1].tool_call_id", MESSAGES),
    "a result given twice": (chat(USER, CALLED, RESULT, RESULT), "messages[3].tool_call_id", MESSAGES),
    "the id of a call without a result": (chat(USER, CALLED, CALLED, USER), "messages[2].tool_calls[0].id", MESSAGES),
    "an id used twice in a message": (
        chat(USER, dataclasses.replace(CALLED, tool_calls=(CALL, CALL)), USER),
        "messages[1].tool_calls[1].id",
        MESSAGES,
    ),
    "arguments with a number that is too large": (calling(arguments='{"n": 1e400}'), ARGUMENTS, MESSAGES),
    "parameters with a number that is too large": (
        offering(parameters='{"maximum": -1e400}'),
        PARAMETERS,
        PARAMETER,
    ),
    "a call without an id": (calling(id=""), "messages[1].tool_calls[0].id", MESSAGES),
    "a call's long id": (calling(id="é" * 129), "messages[1].tool_calls[0].id", MESSAGES),
    "a call without a name": (calling(name=""), "messages[1].tool_calls[0].function.name", MESSAGES),
    "a call's long name": (calling(name="f" * 65), "messages[1].tool_calls[0].function.name", MESSAGES),
    "a long name": (named("é" * 129), "messages[0].name", MESSAGES),
    "arguments that are no object": (calling(arguments="[1]"), ARGUMENTS, MESSAGES),
    "arguments that are no JSON": (calling(arguments='{"a":NaN}'), ARGUMENTS, MESSAGES),
    "arguments of more than 1 MiB": (calling(arguments=json_of(2**20 + 1)), ARGUMENTS, MESSAGES),
    "arguments of 101 levels": (calling(arguments=nested(101)), ARGUMENTS, MESSAGES),
    "temperature": (sampling(temperature=2.1), "sampling.temperature", PARAMETER),
    "not a number": (sampling(temperature=math.nan), "sampling.temperature", PARAMETER),
    "top_p of zero": (sampling(top_p=0), "sampling.top_p", PARAMETER),
    "top_k": (sampling(top_k=-1), "sampling.top_k", PARAMETER),
    "min_p": (sampling(min_p=1.1), "sampling.min_p", PARAMETER),
    "frequency_penalty": (sampling(frequency_penalty=-2.1), "sampling.frequency_penalty", PARAMETER),
    "presence_penalty": (sampling(presence_penalty=math.inf), "sampling.presence_penalty", PARAMETER),
    "repetition_penalty of zero": (sampling(repetition_penalty=0), "sampling.repetition_penalty", PARAMETER),
    "max_tokens of zero": (sampling(max_tokens=0), "sampling.max_tokens", PARAMETER),
    "max_tokens beyond the model": (sampling(max_tokens=128), "sampling.max_tokens", PARAMETER),
    "min_tokens beyond max_tokens": (sampling(min_tokens=5, max_tokens=4), "sampling.min_tokens", PARAMETER),
    "too many stops": (sampling(stop=("a",) * 17), "sampling.stop", PARAMETER),
    "an empty stop": (sampling(stop=("a", "")), "sampling.stop[1]", PARAMETER),
    "a long stop": (sampling(stop=("é" * 129,)), "sampling.stop[0]", PARAMETER),
    "too many stop ids": (sampling(stop_token_ids=(1,) * 64 + (100,)), "sampling.stop_token_ids", PARAMETER),
    "a stop id too high": (sampling(stop_token_ids=(100,)), "sampling.stop_token_ids[0]", PARAMETER),
    "too many biases": (sampling(logit_bias=((1, 1.0),) * 1025), "sampling.logit_bias", PARAMETER),
    "a biased id too high": (sampling(logit_bias=((100, 1.0),)), "sampling.logit_bias[100]", PARAMETER),
    "a bias too high": (sampling(logit_bias=((1, 101.0),)), "sampling.logit_bias[1]", PARAMETER),
    "n of zero": (chat(USER, n=0), "n", PARAMETER),
    "n beyond the slots": (chat(USER, n=5), "n", PARAMETER),
    "top_logprobs": (chat(USER, top_logprobs=21), "logprobs.top_logprobs", PARAMETER),
    "a time limit of nothing": (chat(USER, time_limit_s=0.0), "time_limit", PARAMETER),
    "too much metadata": (chat(USER, metadata=tuple((str(i), "") for i in range(17))), "metadata", PARAMETER),
    "a long key": (chat(USER, metadata=(("k" * 65, ""),)), "metadata", PARAMETER),
    "a long value": (chat(USER, metadata=(("k", "v" * 513),)), "metadata[k]", PARAMETER),
    "too many tools": (chat(USER, tools=tuple(FunctionTool(name=f"f{i}") for i in range(129))), "tools", PARAMETER),
    "a tool's bad name": (chat(USER, tools=(FunctionTool(name="a b"),)), "tools[0].function.name", PARAMETER),
    "a tool offered twice": (chat(USER, tools=(TOOL, TOOL)), "tools[1].function.name", PARAMETER),
    "parameters that are no object": (offering(parameters="3"), PARAMETERS, PARAMETER),
    "parameters of more than 128 KiB": (offering(parameters=json_of(2**17 + 1)), PARAMETERS, PARAMETER),
    "parameters of 101 levels": (offering(parameters=nested(101)), PARAMETERS, PARAMETER),
    "an effort with a raw prompt": (
        CompletionRequest(raw_prompt=RawText(text="a"), reasoning_effort=ReasoningEffort.LOW),
        "reasoning_effort",
        PARAMETER,
    ),
    "tools with a raw prompt": (CompletionRequest(raw_prompt=RawText(text="a"), tools=(TOOL,)), "tools", PARAMETER),
    "a choice without tools": (
        chat(USER, tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED)),
        "tool_choice.mode",
        PARAMETER,
    ),
    "a choice of an unknown tool": (
        chat(USER, tools=(TOOL,), tool_choice=ToolChoice(function_names=("g",))),
        "tool_choice.function_names[0]",
        PARAMETER,
    ),
    "too many names to choose from": (
        chat(USER, tools=(TOOL,), tool_choice=ToolChoice(function_names=("f",) * 128 + ("g",))),
        "tool_choice.function_names",
        PARAMETER,
    ),
    "a required call and a format": (
        chat(
            USER,
            tools=(TOOL,),
            tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED),
            response_format=ChoiceFormat(choices=("a",)),
        ),
        "response_format",
        PARAMETER,
    ),
}

BEYOND_THE_MODEL: dict[str, tuple[CompletionRequest, str]] = {
    "messages": (chat(USER), "messages"),
    "tools": (chat(USER, tools=(TOOL,)), "tools"),
    "a strict tool": (chat(USER, tools=(FunctionTool(name="f", strict=True),)), "tools[0].function.strict"),
    "a required call": (
        chat(USER, tools=(TOOL,), tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED)),
        "tool_choice.mode",
    ),
    "a format": (chat(USER, response_format=ChoiceFormat(choices=("a",))), "response_format"),
    "an effort": (chat(USER, reasoning_effort=ReasoningEffort.HIGH), "reasoning_effort"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_request_passes(name: str) -> None:
    assert violations(GOOD[name]) == ()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_field_is_named_with_its_reason_and_nothing_else_is(name: str) -> None:
    request, field, reason = BAD[name]
    assert [(violation.field, violation.reason) for violation in violations(request)] == [(field, reason)]


@pytest.mark.parametrize("levels", [101, 600, 100_000])
def test_json_that_is_nested_too_deeply_is_rejected_with_the_limit(levels: int) -> None:
    """600 levels passed validation, and then building the input of the chat template failed: INTERNAL."""
    (violation,) = violations(calling(arguments=nested(levels)))
    assert "nested more than 100 levels deep" in violation.description


@pytest.mark.parametrize("text", [r'{"a":"\ud800"}', r'{"\uDFFF":1}', r'{"a":["\ude00\ud83d"]}'])
def test_json_with_half_a_surrogate_pair_is_rejected(text: str) -> None:
    """It passed validation, and then no tokenizer could encode the prompt: INTERNAL."""
    for request, field in ((calling(arguments=text), ARGUMENTS), (offering(parameters=text), PARAMETERS)):
        (violation,) = violations(request)
        assert violation.field == field
        assert "half a surrogate pair" in violation.description


def test_an_id_that_is_too_long_is_reported_for_the_call_and_for_its_result() -> None:
    request = chat(
        USER,
        dataclasses.replace(CALLED, tool_calls=(dataclasses.replace(CALL, id="a" * 257),)),
        dataclasses.replace(RESULT, tool_call_id="a" * 257),
    )
    assert [(violation.field, violation.description) for violation in violations(request)] == [
        ("messages[1].tool_calls[0].id", "has 257 bytes; at most 256 are allowed"),
        ("messages[2].tool_call_id", "has 257 bytes; at most 256 are allowed"),
    ]


def test_only_the_first_64_violations_are_reported() -> None:
    """Describing a million violations stopped the server for half a minute."""
    bad = dataclasses.replace(USER, tool_call_id="a")
    found = violations(chat(*(bad for _ in range(100)), sampling={"top_k": -1}))
    assert [violation.field for violation in found] == [f"messages[{index}].tool_call_id" for index in range(64)]


@pytest.mark.parametrize("name", BEYOND_THE_MODEL)
def test_a_feature_that_the_model_lacks_is_rejected_with_that_reason(name: str) -> None:
    request, field = BEYOND_THE_MODEL[name]
    found = {(violation.field, violation.reason) for violation in violations(request, UNABLE)}
    assert (field, UNSUPPORTED) in found


def test_a_system_message_is_rejected_if_the_template_does_not_support_it() -> None:
    request = chat(Message(role=Role.SYSTEM, content=("a",)), USER)
    found = violations(request, dataclasses.replace(ABLE, system_role=False))
    assert [(violation.field, violation.reason) for violation in found] == [("messages[0].role", UNSUPPORTED)]


def test_tool_calls_are_rejected_if_the_template_would_drop_them() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(chat(USER, CALLED, RESULT), dataclasses.replace(limits(), takes_tool_calls=False))
    assert [violation.field for violation in caught.value.violations] == ["messages[1].tool_calls", "messages[2].role"]
    assert caught.value.reason is UNSUPPORTED


def test_violations_of_decoding_are_reported_with_those_of_validation() -> None:
    found = FieldViolation(field="tools[0]", description="unknown field")
    with pytest.raises(InvalidRequest) as caught:
        validate(sampling(top_k=-1), limits(), [found])
    assert [violation.field for violation in caught.value.violations] == ["tools[0]", "sampling.top_k"]


def test_min_tokens_is_rejected_if_every_token_ends_the_output() -> None:
    request = sampling(min_tokens=1, stop_token_ids=(0, 1))
    with pytest.raises(InvalidRequest, match="1 cannot be reached: every token of the vocabulary ends the output"):
        validate(request, dataclasses.replace(limits(), num_sampleable=3))


@pytest.mark.parametrize("field", ["messages[0].role", "messages[1].content[0]"])
def test_a_message_that_could_not_be_decoded_hides_the_rules_on_messages(field: str) -> None:
    found = FieldViolation(field=field, description="unknown value")
    with pytest.raises(InvalidRequest) as caught:
        validate(chat(RESULT, sampling={"top_k": -1}), limits(), [found])
    assert [violation.field for violation in caught.value.violations] == [field, "sampling.top_k"]


def test_a_tool_that_could_not_be_decoded_is_reported_once() -> None:
    found = FieldViolation(field="tools[0]", description="the kind of tool is not set")
    with pytest.raises(InvalidRequest) as caught:
        validate(chat(USER, tools=(FunctionTool(name=""),)), limits(), [found])
    assert [violation.field for violation in caught.value.violations] == ["tools[0]"]
