"""Completions as text, values and tool calls, and the errors that carry them."""

from typing import get_args

import pytest
from pydantic import BaseModel

from fake_server import FakeServer
from onward.v1.completion_pb2 import Choice
from onward.v1.usage_pb2 import FinishReason as FinishReasonValue
from onward_client import (
    Client,
    Completion,
    FinishReason,
    LengthFinishError,
    OutputError,
    OutputValidationError,
    complete_request,
)
from onward_client.replies import to_reply
from onward_client.results import to_completion, to_parsed
from responses import choice, response, text_response, tool_call


class City(BaseModel):
    """A city."""

    name: str
    people: int


class Weather(BaseModel):
    """The weather of a city."""

    city: str


ROME = City(name="Rome", people=2_800_000)


def completion(*choices: Choice) -> Completion:
    return to_completion(to_reply(response(*choices), "id"))


def test_parse_sends_the_schema_and_returns_the_value(client: Client, server: FakeServer) -> None:
    server.script.append(text_response(ROME.model_dump_json()))

    parsed = client.parse(City, "Which city?", temperature=0.0)

    assert parsed.parsed == ROME
    assert parsed.text == ROME.model_dump_json()
    assert server.seen[0].request == complete_request("Which city?", response_format=City, temperature=0.0)


def test_parse_accepts_every_type_that_pydantic_accepts(client: Client, server: FakeServer) -> None:
    server.script.append(text_response("[1, 2]"))

    assert client.parse(list[int], "Which numbers?").parsed == [1, 2]


def test_parse_keeps_an_explicit_response_format(client: Client, server: FakeServer) -> None:
    server.script.append(text_response(ROME.model_dump_json()))

    client.parse(City, "Which city?", response_format="json_object")

    assert server.seen[0].request == complete_request("Which city?", response_format="json_object")


def test_parse_leaves_tool_calls_to_the_caller(client: Client, server: FakeServer) -> None:
    calls = [tool_call("Weather", '{"city": "Rome"}')]
    server.script.append(response(choice(calls=calls, finish=FinishReasonValue.FINISH_REASON_TOOL_CALLS)))

    parsed = client.parse(City, "Which city?", tools=[Weather])

    assert parsed.parse_tool_calls(Weather) == [Weather(city="Rome")]
    with pytest.raises(OutputError, match="the model called Weather instead of returning City") as raised:
        _ = parsed.parsed
    assert raised.value.response is parsed


@pytest.mark.parametrize(
    "finish",
    [
        FinishReasonValue.FINISH_REASON_LENGTH,
        FinishReasonValue.FINISH_REASON_CONTEXT_LENGTH,
        FinishReasonValue.FINISH_REASON_TIME_LIMIT,
    ],
    ids=FinishReasonValue.Name,
)
def test_output_that_ended_early_is_an_error_with_the_response(finish: int) -> None:
    truncated = completion(choice('{"name": "Ro', finish=finish))

    with pytest.raises(LengthFinishError, match=r"ended early: finish_reason is .* \(request id id\)") as raised:
        to_parsed(City, truncated)

    assert raised.value.response.text == '{"name": "Ro'


def test_output_of_another_type_is_an_error_with_the_text_and_its_cause() -> None:
    wrong = completion(choice('{"name": "Rome"}'))

    with pytest.raises(OutputValidationError, match="the output does not match City") as raised:
        wrong.parse(City)

    error = raised.value
    assert (error.response, error.text) == (wrong, '{"name": "Rome"}')
    assert error.validation_error is error.__cause__ is not None


def test_every_choice_can_be_parsed() -> None:
    several = completion(choice("1"), choice("2", index=1))

    assert (several.parse(int), several.parse(int, index=1)) == (1, 2)


def test_tool_calls_are_parsed_as_the_type_that_they_name() -> None:
    calls = [
        tool_call("Weather", '{"city": "Rome"}'),
        tool_call("City", '{"name": "Rome", "people": 2800000}', id="123456789"),
    ]

    assert completion(choice(calls=calls)).parse_tool_calls(City, Weather) == [Weather(city="Rome"), ROME]


def test_tool_calls_of_a_function_are_its_validated_arguments_and_never_run_it() -> None:
    """The model's arguments were passed to the function, which ran before the caller could look at them."""

    def delete(path: str, days: int = 7) -> None:
        raise AssertionError((path, days))

    called = completion(
        choice(calls=[tool_call("delete", '{"path": "a", "days": "3"}'), tool_call("delete", '{"path": "b"}')])
    )

    assert called.parse_tool_calls(delete) == [{"path": "a", "days": 3}, {"path": "b"}]
    with pytest.raises(OutputValidationError, match="the output does not match delete"):
        completion(choice(calls=[tool_call("delete", '{"path": 5}')])).parse_tool_calls(delete)


def test_types_and_functions_can_be_mixed() -> None:
    def now() -> str:
        raise AssertionError("the function was called")

    calls = [tool_call("Weather", '{"city": "Rome"}'), tool_call("now", "{}", id="123456789")]

    assert completion(choice(calls=calls)).parse_tool_calls(now, Weather) == [Weather(city="Rome"), {}]


@pytest.mark.parametrize(
    ("bad", "text", "message"),
    [
        (choice(calls=[tool_call("Weather", '{"town": 1}')]), '{"town": 1}', "the output does not match Weather"),
        (choice(calls=[tool_call("Other", "{}")]), "{}", "the model called 'Other'; expected one of Weather"),
        (
            choice(finish=FinishReasonValue.FINISH_REASON_INVALID_TOOL_CALL, invalid_tool_call="<raw>"),
            "<raw>",
            "the output has a malformed tool call: <raw>",
        ),
    ],
    ids=["arguments", "name", "raw"],
)
def test_an_invalid_tool_call_is_an_error_with_its_text(bad: Choice, text: str, message: str) -> None:
    with pytest.raises(OutputValidationError, match=message) as raised:
        completion(bad).parse_tool_calls(Weather)

    assert raised.value.text == text


def test_a_truncated_tool_call_is_an_error() -> None:
    truncated = choice(finish=FinishReasonValue.FINISH_REASON_LENGTH, invalid_tool_call="<raw")

    with pytest.raises(LengthFinishError):
        completion(truncated).parse_tool_calls(Weather)


@pytest.mark.parametrize("value", FinishReasonValue.values(), ids=FinishReasonValue.Name)
def test_every_finish_reason_of_the_protocol_has_a_name(value: int) -> None:
    assert completion(choice(finish=value)).finish_reason in get_args(FinishReason)


def test_a_finish_reason_of_a_newer_server_is_unknown() -> None:
    newer = response(Choice.FromString(bytes([0x18, 99])))

    assert to_completion(to_reply(newer, "id")).finish_reason == "unknown"


def test_a_completion_without_choices_reads_as_empty() -> None:
    nothing = completion()

    assert (nothing.text, nothing.reasoning, list(nothing.tool_calls)) == ("", "", [])
