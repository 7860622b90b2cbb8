"""Options set every field of `CompleteRequest`, and invalid ones are rejected by name."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from onward.v1.chat_pb2 import FunctionTool, Message, ReasoningEffort, Role, Tool, ToolChoice
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, TokenIds
from onward.v1.sampling_pb2 import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    LogprobOptions,
    RegexFormat,
    ResponseFormat,
    SamplingParams,
    TextFormat,
)
from onward_client import RequestError, assistant, complete_request, system, tool_result, user
from onward_client.requests import RequestOptions, SamplingOptions
from responses import tool_call

SAMPLING: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "repetition_penalty": 1.1,
    "max_tokens": 100,
    "min_tokens": 1,
    "stop": ["END", "STOP"],
    "stop_token_ids": [7, 8],
    "include_stop": True,
    "ignore_eos": True,
    "logit_bias": {5: -100.0},
    "seed": 2**53 - 1,
}
FORECAST = FunctionTool(name="forecast", description="The weather.", parameters='{"type": "object"}', strict=True)

REQUESTS: list[tuple[dict[str, Any], CompleteRequest]] = [
    ({"model": "pocket"}, CompleteRequest(model="pocket")),
    ({"prompt": "Once"}, CompleteRequest(raw_prompt=RawPrompt(text="Once"))),
    ({"prompt": [1, 2]}, CompleteRequest(raw_prompt=RawPrompt(token_ids=TokenIds(ids=[1, 2])))),
    (
        {"prompt": "Once", "no_special_tokens": True},
        CompleteRequest(raw_prompt=RawPrompt(text="Once", no_special_tokens=True)),
    ),
    ({"stop": "END"}, CompleteRequest(sampling=SamplingParams(stop=["END"]))),
    ({"temperature": 0}, CompleteRequest(sampling=SamplingParams(temperature=0))),
    ({"tools": [FORECAST]}, CompleteRequest(tools=[Tool(function=FORECAST)])),
    ({"tools": [Tool(function=FORECAST)]}, CompleteRequest(tools=[Tool(function=FORECAST)])),
    (
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "forecast",
                        "description": "The weather.",
                        "parameters": {"type": "object"},
                        "strict": True,
                    },
                }
            ]
        },
        CompleteRequest(tools=[Tool(function=FORECAST)]),
    ),
    ({"tool_choice": "auto"}, CompleteRequest(tool_choice=ToolChoice(mode=ToolChoice.MODE_AUTO))),
    ({"tool_choice": "none"}, CompleteRequest(tool_choice=ToolChoice(mode=ToolChoice.MODE_NONE))),
    ({"tool_choice": "required"}, CompleteRequest(tool_choice=ToolChoice(mode=ToolChoice.MODE_REQUIRED))),
    (
        {"tool_choice": ["forecast"]},
        CompleteRequest(tool_choice=ToolChoice(mode=ToolChoice.MODE_REQUIRED, function_names=["forecast"])),
    ),
    (
        {"tool_choice": ToolChoice(function_names=["forecast"])},
        CompleteRequest(tool_choice=ToolChoice(function_names=["forecast"])),
    ),
    ({"parallel_tool_calls": False}, CompleteRequest(parallel_tool_calls=False)),
    ({"response_format": "text"}, CompleteRequest(response_format=ResponseFormat(text=TextFormat()))),
    (
        {"response_format": "json_object"},
        CompleteRequest(response_format=ResponseFormat(json_object=JsonObjectFormat())),
    ),
    (
        {"response_format": {"type": "json_object"}},
        CompleteRequest(response_format=ResponseFormat(json_object=JsonObjectFormat())),
    ),
    (
        {"response_format": {"json_schema": {"schema": {"type": "array"}, "name": "list"}}},
        CompleteRequest(
            response_format=ResponseFormat(json_schema=JsonSchemaFormat(schema='{"type": "array"}', name="list"))
        ),
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": "{}", "strict": True}}},
        CompleteRequest(response_format=ResponseFormat(json_schema=JsonSchemaFormat(schema="{}"))),
    ),
    (
        {"response_format": {"regex": {"pattern": "a+"}}},
        CompleteRequest(response_format=ResponseFormat(regex=RegexFormat(pattern="a+"))),
    ),
    (
        {"response_format": {"grammar": {"definition": 'start: "a"'}}},
        CompleteRequest(
            response_format=ResponseFormat(
                grammar=GrammarFormat(syntax=GrammarFormat.SYNTAX_LARK, definition='start: "a"')
            )
        ),
    ),
    (
        {"response_format": {"choice": {"choices": ["yes", "no"]}}},
        CompleteRequest(response_format=ResponseFormat(choice=ChoiceFormat(choices=["yes", "no"]))),
    ),
    (
        {"response_format": ResponseFormat(text=TextFormat())},
        CompleteRequest(response_format=ResponseFormat(text=TextFormat())),
    ),
    ({"n": 3}, CompleteRequest(n=3)),
    ({"logprobs": True}, CompleteRequest(logprobs=LogprobOptions())),
    ({"logprobs": 0}, CompleteRequest(logprobs=LogprobOptions())),
    ({"logprobs": 5}, CompleteRequest(logprobs=LogprobOptions(top_logprobs=5))),
    ({"logprobs": False}, CompleteRequest()),
    ({"time_limit": 1.5}, CompleteRequest(time_limit=Duration(seconds=1, nanos=500_000_000))),
    ({"time_limit": timedelta(minutes=1)}, CompleteRequest(time_limit=Duration(seconds=60))),
    ({"user": "someone"}, CompleteRequest(user="someone")),
    ({"metadata": {"team": "a"}}, CompleteRequest(metadata={"team": "a"})),
    ({"reasoning_effort": "low"}, CompleteRequest(reasoning_effort=ReasoningEffort.REASONING_EFFORT_LOW)),
]


@pytest.mark.parametrize(("options", "expected"), REQUESTS, ids=[str(options) for options, _ in REQUESTS])
def test_an_option_sets_its_field(options: RequestOptions, expected: CompleteRequest) -> None:
    assert complete_request(**options) == expected


@pytest.mark.parametrize("name", SAMPLING)
def test_a_sampling_option_sets_the_parameter_of_the_same_name(name: str) -> None:
    options: RequestOptions = {name: SAMPLING[name]}  # pyright: ignore[reportAssignmentType] - each key in turn

    assert complete_request(**options).sampling == SamplingParams(**{name: SAMPLING[name]})


def test_every_field_has_an_option() -> None:
    fields = set(CompleteRequest.DESCRIPTOR.fields_by_name)
    sampling = set(SamplingParams.DESCRIPTOR.fields_by_name)

    openai = {"max_completion_tokens", "top_logprobs"}
    own = {"request", "prompt", "no_special_tokens"}
    assert SamplingOptions.__optional_keys__ == sampling == set(SAMPLING)
    assert (
        RequestOptions.__optional_keys__ - sampling == (fields - {"messages", "raw_prompt", "sampling"}) | own | openai
    )


def test_an_option_that_is_none_is_unset() -> None:
    options: Any = dict.fromkeys(RequestOptions.__optional_keys__)

    assert complete_request(None, **options) == CompleteRequest()


def test_options_are_merged_into_a_copy_of_the_request() -> None:
    base = CompleteRequest(model="pocket", sampling=SamplingParams(temperature=0.5, top_k=3))

    made = complete_request("Hi", request=base, temperature=0.0)

    assert made == CompleteRequest(
        model="pocket", messages=[user("Hi")], sampling=SamplingParams(temperature=0.0, top_k=3)
    )
    assert base.sampling.temperature == 0.5


MESSAGES: list[tuple[dict[str, Any], Message]] = [
    ({"role": "system", "content": "Be brief."}, system("Be brief.")),
    ({"role": "developer", "content": "Be brief."}, system("Be brief.")),
    ({"role": "user", "content": "Hi", "name": "Ann"}, user("Hi", name="Ann")),
    ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, user("Hi")),
    ({"role": "assistant", "content": "Hi", "reasoning": "hm"}, assistant("Hi", reasoning="hm")),
    ({"role": "assistant", "content": "Hi", "prefix": True}, assistant("Hi", prefix=True)),
    (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        assistant(tool_calls=[tool_call("f", "{}")]),
    ),
    ({"role": "assistant", "tool_calls": [tool_call("f", "{}")]}, assistant(tool_calls=[tool_call("f", "{}")])),
    (
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": '{"a": "é"}'},
        tool_result(tool_call("f", "{}"), {"a": "é"}),
    ),
]


@pytest.mark.parametrize(("given", "expected"), MESSAGES, ids=str)
def test_a_dict_becomes_a_message_with_its_fields(given: Any, expected: Message) -> None:  # noqa: ANN401 - plain JSON
    assert list(complete_request([given]).messages) == [expected]


def test_messages_of_all_forms_can_be_mixed() -> None:
    made = complete_request([system("Be brief."), {"role": "user", "content": "Hi"}, assistant("Hello."), "And?"])

    assert [message.role for message in made.messages] == [
        Role.ROLE_SYSTEM,
        Role.ROLE_USER,
        Role.ROLE_ASSISTANT,
        Role.ROLE_USER,
    ]


BAD: list[tuple[Any, str]] = [
    ({"temperature": "hot"}, "sampling.temperature: "),
    ({"max_tokens": 1.5}, "sampling.max_tokens: "),
    ({"stop": [1]}, "sampling.stop[0]: must be a string, not 1"),
    ({"n": "two"}, "n: "),
    ({"prompt": ["one"]}, "prompt[0]: must be an integer, not 'one'"),
    ({"metadata": {"a": 1}}, "metadata['a']: must be a string, not 1"),
    ({"logprobs": "all"}, "logprobs: "),
    ({"time_limit": "soon"}, "time_limit: must be a finite number of seconds, not 'soon'"),
    ({"time_limit": float("inf")}, "time_limit: must be a finite number of seconds, not inf"),
    ({"reasoning_effort": "huge"}, "reasoning_effort: "),
    (
        {"tool_choice": "maybe"},
        "tool_choice: must be one of 'auto', 'none', 'required' or a list of names, not 'maybe'",
    ),
    ({"tools": ["forecast"]}, "tools[0]: must be a tool, a dict, a type or a function, not 'forecast'"),
    ({"tools": [{"function": {"name": "f", "strictly": True}}]}, "tools[0].function: "),
    ({"tools": [{"type": "search", "function": {"name": "f"}}]}, "tools[0].type: must be 'function', not 'search'"),
    ({"tools": [{"function": {"name": "f", "parameters": {1, 2}}}]}, "tools[0].function.parameters: "),
    ({"response_format": "yaml"}, "response_format: "),
    ({"response_format": 5}, "response_format: must be 'text', 'json_object', a dict or a type, not 5"),
    ({"response_format": {}}, "response_format: must have exactly one field, not an empty dict"),
    (
        {"response_format": {"regex": {}, "choice": {}}},
        "response_format: must have exactly one field, not 'regex', 'choice'",
    ),
    ({"response_format": {"regex": {"patern": "a"}}}, "response_format.regex: 'patern' is not a field; did you mean"),
    ({"response_format": {"json_schema": {"schema": "{}", "strict": False}}}, "response_format.json_schema.strict: "),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=str)
def test_an_invalid_value_is_rejected_by_name(options: RequestOptions, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        complete_request("Hi", **options)

    assert str(raised.value).startswith(message)


BAD_MESSAGES: list[tuple[Any, str]] = [
    ({"content": "Hi"}, "messages[1].role: must be one of system, developer, user, assistant, tool, not None"),
    ({"role": "robot"}, "messages[1].role: must be one of system, developer, user, assistant, tool, not 'robot'"),
    ({"role": "user", "contents": "Hi"}, "messages[1]: "),
    (
        {"role": "user", "content": {"text": "Hi"}},
        "messages[1].content: must be a string or a list of parts, not {'text': 'Hi'}",
    ),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
        "messages[1].content[0].type: must be 'text', not 'image_url'",
    ),
    ({"role": "assistant", "tool_calls": [{"call": "f"}]}, "messages[1].tool_calls[0]: 'call' is not a field"),
]


@pytest.mark.parametrize(("message", "expected"), BAD_MESSAGES, ids=str)
def test_an_invalid_message_is_rejected_by_its_index(message: Any, expected: str) -> None:  # noqa: ANN401
    with pytest.raises(RequestError) as raised:
        complete_request(["Hi", message])

    assert str(raised.value).startswith(expected)


def test_a_tool_result_without_a_json_form_is_rejected() -> None:
    with pytest.raises(RequestError, match=r"^tool_result: has no JSON form: "):
        tool_result(tool_call("f", "{}"), object())
