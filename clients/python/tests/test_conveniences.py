"""What users of other clients expect: the environment, interceptors, typed streams, and the shapes of results."""

import asyncio
import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

import grpc
import grpc.aio
import pytest
from pydantic import BaseModel, SecretStr

import onward_client
from both_clients import Connect
from fake_server import SOON, Failure, FakeServer
from onward.v1.usage_pb2 import FinishReason
from onward_client import (
    AsyncClient,
    Client,
    LengthFinishError,
    OutputError,
    OutputValidationError,
    RequestError,
    assistant,
    complete_request,
    tool_result,
    user,
)
from onward_client.replies import to_reply
from onward_client.results import to_completion
from responses import choice, events, response, text_response, tool_call


class City(BaseModel):
    """A city."""

    name: str


ROME = '{"name": "Rome"}'


def test_the_target_and_the_key_come_from_the_environment(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script.extend([text_response()] * 2)
    monkeypatch.setenv("ONWARD_TARGET", server.target)
    monkeypatch.setenv("ONWARD_API_KEY", "secret")

    async def complete() -> None:
        async with AsyncClient() as client:
            await client.complete("Hi")

    with Client() as client:
        client.complete("Hi")
    asyncio.run(complete())

    assert [seen.metadata["authorization"] for seen in server.seen] == ["Bearer secret"] * 2


def test_arguments_take_precedence_over_the_environment(
    connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script.append(text_response())
    monkeypatch.setenv("ONWARD_TARGET", "nowhere.invalid:1")
    monkeypatch.setenv("ONWARD_API_KEY", "other")

    connect(server.target, api_key="mine").complete("Hi")

    assert server.seen[0].metadata["authorization"] == "Bearer mine"


def test_an_empty_variable_counts_as_unset(
    connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script.append(text_response())
    monkeypatch.setenv("ONWARD_TARGET", "")
    monkeypatch.setenv("ONWARD_API_KEY", "")

    with pytest.raises(RequestError, match="set ONWARD_TARGET"):
        Client()
    connect(server.target).complete("Hi")
    assert "authorization" not in server.seen[0].metadata


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ONWARD_TARGET", "http://a:1", "ONWARD_TARGET: 'http://a:1' is a URL; use 'a:1' and tls=False"),
        ("ONWARD_API_KEY", "secret\n", "ONWARD_API_KEY: must be printable ASCII"),
    ],
)
def test_a_wrong_variable_is_rejected_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv("ONWARD_TARGET", "a:1")
    monkeypatch.setenv(variable, value)

    for kind in (Client, AsyncClient):
        with pytest.raises(RequestError) as raised:
            kind()
        assert str(raised.value) == message


def test_one_module_reads_the_environment() -> None:
    folder = Path(onward_client.__file__).parent
    reading = [path.name for path in folder.glob("*.py") if "os.environ" in path.read_text(encoding="utf-8")]

    assert reading == ["environment.py"]
    assert "getenv" not in "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))


class Details(Protocol):
    """What gRPC tells an interceptor about a call."""

    method: Any


class Tracing(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts the attempts of calls by method."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Details, request: object
    ) -> Any:  # noqa: ANN401 - what gRPC returns
        self.methods.append(client_call_details.method)
        return continuation(client_call_details, request)

    intercept_unary_stream = intercept_unary_unary


class AioTracing(grpc.aio.UnaryUnaryClientInterceptor):
    """Counts the attempts of unary calls."""

    def __init__(self) -> None:
        self.methods: list[bytes] = []

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Details, request: object
    ) -> Any:  # noqa: ANN401 - what gRPC returns
        self.methods.append(client_call_details.method)
        return await continuation(client_call_details, request)


class AioStreamTracing(grpc.aio.UnaryStreamClientInterceptor):
    """Counts the attempts of streams."""

    def __init__(self) -> None:
        self.methods: list[bytes] = []

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Details, request: object
    ) -> Any:  # noqa: ANN401 - what gRPC returns
        self.methods.append(client_call_details.method)
        return await continuation(client_call_details, request)


def scripted(server: FakeServer) -> None:
    """One refusal before a unary call, and one before a stream."""
    server.script.extend([Failure(code=grpc.StatusCode.UNAVAILABLE, trailers=SOON), text_response("Hello.")])
    server.script.extend([Failure(code=grpc.StatusCode.UNAVAILABLE, trailers=SOON), [*events(text_response("Hello."))]])


def test_interceptors_see_every_attempt(server: FakeServer) -> None:
    scripted(server)
    tracing = Tracing()

    with Client(server.target, interceptors=[tracing]) as client:
        assert client.complete("Hi").text == "Hello."
        with client.stream("Hi") as stream:
            assert stream.final().text == "Hello."

    unary, streamed = "/onward.v1.CompletionService/Complete", "/onward.v1.CompletionService/StreamComplete"
    assert tracing.methods == [unary, unary, streamed, streamed]


async def test_interceptors_of_asyncio_see_every_attempt(server: FakeServer) -> None:
    scripted(server)
    unary, streamed = AioTracing(), AioStreamTracing()

    async with AsyncClient(server.target, interceptors=[unary, streamed]) as client:
        assert (await client.complete("Hi")).text == "Hello."
        async with client.stream("Hi") as stream:
            assert (await stream.final()).text == "Hello."

    assert (len(unary.methods), len(streamed.methods)) == (2, 2)


def test_a_channel_of_the_caller_is_used_and_stays_open(server: FakeServer) -> None:
    server.script.extend([Failure(code=grpc.StatusCode.UNAVAILABLE, trailers=SOON), *[text_response("Hello.")] * 2])

    with grpc.insecure_channel(server.target) as channel:
        with Client(channel=channel) as client:
            assert client.complete("Hi").text == "Hello."
        with pytest.raises(RequestError, match="the client is closed"):
            client.complete("Hi")
        with Client(channel=channel) as other:
            assert other.complete("Hi").text == "Hello."


async def test_a_channel_of_the_caller_for_asyncio_is_used_and_stays_open(server: FakeServer) -> None:
    server.script.extend([text_response("Hello.")] * 2)

    async with grpc.aio.insecure_channel(server.target) as channel:
        for _ in range(2):
            async with AsyncClient(channel=channel) as client:
                assert (await client.complete("Hi")).text == "Hello."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channel": "a:1"}, "channel: must be a grpc.Channel, not 'a:1'"),
        ({"target": "a:1"}, "target: cannot be combined with `channel`, which is connected already"),
        ({"tls": True}, "tls: cannot be combined with `channel`, which is connected already"),
        ({"interceptors": [object]}, "interceptors[0]: must be one of UnaryUnaryClientInterceptor, "),
    ],
    ids=str,
)
def test_a_channel_of_the_caller_cannot_be_set_up_again(arguments: dict[str, Any], message: str) -> None:
    with grpc.insecure_channel("localhost:1") as channel:
        given: dict[str, Any] = {"channel": channel, **arguments}
        with pytest.raises(RequestError) as raised:
            Client(**given)

    assert str(raised.value).startswith(message)


def test_a_stream_can_be_parsed(client: Client, server: FakeServer) -> None:
    server.script.append([*events(text_response(ROME))])

    with client.parse_stream(City, "Which city?", temperature=0.0) as stream:
        assert "".join(stream.text) == ROME
        final = stream.final()

    assert final.parsed == City(name="Rome")
    assert final.text == ROME
    request: Any = server.seen[0].request
    assert request.request == complete_request("Which city?", response_format=City, temperature=0.0)


def test_a_parsed_stream_that_ends_early_is_an_error_with_the_partial_output(
    client: Client, server: FakeServer
) -> None:
    truncated = response(choice('{"na', finish=FinishReason.FINISH_REASON_LENGTH))
    server.script.extend([[*events(truncated)], [*events(text_response("{}"))], [*events(text_response(ROME))[:-1]]])

    for kind in (LengthFinishError, OutputValidationError, OutputError):
        with client.parse_stream(City, "Which city?") as stream, pytest.raises(kind):
            stream.final()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int | str, '"a"', "a"),
        (City | None, "null", None),
        (City | int, ROME, City(name="Rome")),
        (list[City | int], f"[{ROME}, 1]", [City(name="Rome"), 1]),
        (Literal["yes", "no"], '"yes"', "yes"),
    ],
    ids=str,
)
def test_unions_and_literals_can_be_parsed(
    client: Client,
    server: FakeServer,
    kind: Any,  # noqa: ANN401 - a form of `typing`
    text: str,
    value: object,
) -> None:
    server.script.append(text_response(text))

    parsed = client.parse(kind, "Which?")

    assert parsed.parsed == value
    request: Any = server.seen[0].request
    assert request.response_format.json_schema.schema


class Color(Enum):
    """An enum."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    when: dt.date


RESULTS: list[tuple[object, str]] = [
    ("sunny", "sunny"),
    (City(name="Rome"), '{"name": "Rome"}'),
    ([City(name="Rome")], '[{"name": "Rome"}]'),
    ({"at": dt.datetime(2024, 1, 31, 10, tzinfo=dt.UTC)}, '{"at": "2024-01-31T10:00:00+00:00"}'),
    (dt.date(2024, 1, 31), '"2024-01-31"'),
    (dt.time(10, 30), '"10:30:00"'),
    (dt.timedelta(hours=1), '"PT1H"'),
    (Point(x=1, when=dt.date(2024, 1, 31)), '{"x": 1, "when": "2024-01-31"}'),
    ({"a": {1}}, '{"a": [1]}'),
    ({"a": Color.RED}, '{"a": "red"}'),
    (Decimal("1.10"), '"1.10"'),
    (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (Path("a/b"), '"a/b"'),
    (b"abc", '"abc"'),
    (SecretStr("hidden"), '"**********"'),
    ({dt.date(2024, 1, 31): 1}, '{"2024-01-31": 1}'),
    (None, "null"),
    (1.5, "1.5"),
    (True, "true"),
]


@pytest.mark.parametrize(("result", "sent"), RESULTS, ids=[sent for _, sent in RESULTS])
def test_a_tool_result_may_be_any_value_with_a_json_form(result: object, sent: str) -> None:
    message = tool_result(tool_call("f", "{}"), result)

    assert message.content[0].text == sent


def test_dates_need_no_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_core", None)

    message = tool_result(tool_call("f", "{}"), {"on": dt.date(2024, 1, 31)})

    assert json.loads(message.content[0].text) == {"on": "2024-01-31"}
    with pytest.raises(RequestError, match="needs pydantic, which is not installed"):
        tool_result(tool_call("f", "{}"), {"a": {1}})


def test_results_have_the_shape_that_other_clients_return() -> None:
    calls = [tool_call("f", '{"a": 1}')]
    completion = to_completion(to_reply(response(choice("Hello.", reasoning="hm"), choice(index=1, calls=calls)), "id"))

    first, second = completion.choices
    assert (completion.id, completion.model, completion.usage.total_tokens) == ("cmpl-1", "pocket", 12)
    assert (first.index, first.finish_reason, first.message.role) == (0, "stop", "assistant")
    assert first.message.content == completion.message.content == completion.text == "Hello."
    assert first.message.reasoning == "hm"
    assert (second.index, second.message.content) == (1, "")
    assert [(call.id, call.function.name, call.function.arguments) for call in second.message.tool_calls] == [
        ("abcdefghi", "f", '{"a": 1}')
    ]
    assert first.message.proto == assistant("Hello.", reasoning="hm")


def test_the_metadata_of_a_reply_is_a_plain_dict() -> None:
    reply = to_reply(text_response(), "mine", [("a", "1"), ("b-bin", b"x")], [("a", "2"), ("b-bin", b"y")])

    assert reply.metadata == {"a": "1, 2", "b-bin": b"x,y"}
    assert type(reply.metadata) is dict
    assert reply.request_id == "mine"


def test_the_message_of_a_completion_can_be_sent_back(client: Client, server: FakeServer) -> None:
    server.script.extend([text_response("Hello.")] * 2)

    completion = client.complete("Hi")
    client.complete(["Hi", completion.choices[0].message, "And?"])

    request: Any = server.seen[1].request
    assert list(request.messages) == [user("Hi"), assistant("Hello."), user("And?")]
