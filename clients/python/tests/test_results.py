"""Answers read as text, values and tool calls, and the errors that keep them."""

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
from onward_client.results import to_completion, to_parsed, to_reply
from responses import answer, call, response, text_response


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


def test_parse_asks_for_the_schema_and_gives_the_value(client: Client, server: FakeServer) -> None:
    server.script.append(text_response(ROME.model_dump_json()))

    parsed = client.parse(City, "Which city?", temperature=0.0)

    assert parsed.parsed == ROME
    assert parsed.text == ROME.model_dump_json()
    assert server.seen[0].request == complete_request("Which city?", response_format=City, temperature=0.0)


def test_parse_takes_any_type_that_pydantic_does(client: Client, server: FakeServer) -> None:
    server.script.append(text_response("[1, 2]"))

    assert client.parse(list[int], "Which numbers?").parsed == [1, 2]


def test_parse_uses_the_response_format_that_it_is_given(client: Client, server: FakeServer) -> None:
    server.script.append(text_response(ROME.model_dump_json()))

    client.parse(City, "Which city?", response_format="json_object")

    assert server.seen[0].request == complete_request("Which city?", response_format="json_object")


def test_parse_leaves_tool_calls_to_the_caller(client: Client, server: FakeServer) -> None:
    calls = [call("Weather", '{"city": "Rome"}')]
    server.script.append(response(answer(calls=calls, finish=FinishReasonValue.FINISH_REASON_TOOL_CALLS)))

    parsed = client.parse(City, "Which city?", tools=[Weather])

    assert parsed.parse_tool_calls(Weather) == [Weather(city="Rome")]
    with pytest.raises(OutputError, match="the answer calls Weather") as raised:
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
def test_an_answer_that_was_cut_off_is_an_error_with_the_response(finish: int) -> None:
    cut = completion(answer('{"name": "Ro', finish=finish))

    with pytest.raises(LengthFinishError, match=r"the answer was cut off: .* \(request id id\)") as raised:
        to_parsed(City, cut)

    assert raised.value.response.text == '{"name": "Ro'


def test_an_answer_of_another_type_is_an_error_with_everything() -> None:
    wrong = completion(answer('{"name": "Rome"}'))

    with pytest.raises(OutputValidationError, match="the answer does not match City") as raised:
        wrong.parse(City)

    error = raised.value
    assert (error.response, error.text) == (wrong, '{"name": "Rome"}')
    assert error.validation_error is error.__cause__ is not None


def test_each_of_several_answers_can_be_parsed() -> None:
    several = completion(answer("1"), answer("2", index=1))

    assert (several.parse(int), several.parse(int, index=1)) == (1, 2)


def test_calls_are_read_into_the_type_of_their_name() -> None:
    calls = [call("Weather", '{"city": "Rome"}'), call("City", '{"name": "Rome", "people": 2800000}', id="123456789")]

    assert completion(answer(calls=calls)).parse_tool_calls(City, Weather) == [Weather(city="Rome"), ROME]


@pytest.mark.parametrize(
    ("bad", "text", "message"),
    [
        (answer(calls=[call("Weather", '{"town": 1}')]), '{"town": 1}', "the answer does not match Weather"),
        (answer(calls=[call("Other", "{}")]), "{}", "the answer calls 'Other', which is none of Weather"),
        (
            answer(finish=FinishReasonValue.FINISH_REASON_INVALID_TOOL_CALL, invalid_tool_call="<raw>"),
            "<raw>",
            "the answer has a tool call that cannot be read: <raw>",
        ),
    ],
    ids=["arguments", "name", "raw"],
)
def test_a_call_that_does_not_fit_is_an_error_with_its_text(bad: Choice, text: str, message: str) -> None:
    with pytest.raises(OutputValidationError, match=message) as raised:
        completion(bad).parse_tool_calls(Weather)

    assert raised.value.text == text


def test_a_call_that_was_cut_off_is_an_error() -> None:
    cut = answer(finish=FinishReasonValue.FINISH_REASON_LENGTH, invalid_tool_call="<raw")

    with pytest.raises(LengthFinishError):
        completion(cut).parse_tool_calls(Weather)


@pytest.mark.parametrize("value", FinishReasonValue.values(), ids=FinishReasonValue.Name)
def test_every_finish_reason_of_the_protocol_has_a_name(value: int) -> None:
    assert completion(answer(finish=value)).finish_reason in get_args(FinishReason)


def test_a_finish_reason_of_a_newer_server_is_unknown() -> None:
    newer = response(Choice.FromString(bytes([0x18, 99])))

    assert to_completion(to_reply(newer, "id")).finish_reason == "unknown"


def test_a_completion_without_answers_reads_as_empty() -> None:
    nothing = completion()

    assert (nothing.text, nothing.reasoning, list(nothing.tool_calls)) == ("", "", [])
