"""A wrong argument is a RequestError that names the field, and a wrong keyword a TypeError that suggests the right one.

Nothing else may come out of a public function, whatever it is given.
"""

import asyncio
import decimal
import math
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from both_clients import Connect
from fake_server import FakeServer
from onward.v1.chat_pb2 import Message, Tool
from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest
from onward.v1.tokenizer_service_pb2 import Token
from onward_client import (
    TLS,
    APIError,
    AsyncClient,
    Client,
    Completion,
    Conversation,
    OnwardError,
    OutputError,
    RequestError,
    assistant,
    complete_request,
    rpcs,
    system,
    tool_result,
    user,
)
from onward_client.calls import CallOptions, ClientOptions
from onward_client.fields import build
from onward_client.replies import to_reply
from onward_client.requests import RequestOptions
from onward_client.results import to_completion
from responses import choice, response, text_response, tool_call


class City(BaseModel):
    """A city."""

    name: str


def forecast(city: str) -> str:
    """The weather to come."""
    return city


class Unprintable:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


CYCLE: list[object] = []
CYCLE.append(CYCLE)


def nested(depth: int) -> list[object]:
    outer: list[object] = []
    for _ in range(depth):
        outer = [outer]
    return outer


DEEP = nested(5000)
COMPLETION = to_completion(to_reply(text_response("Hello."), "id"))
CALLED = to_completion(to_reply(response(choice(calls=[tool_call("forecast", '{"city": "Rome"}')])), "id"))

VALUES: list[object] = [
    *(None, True, False, 0, -1, 5, 2**31, 2**63, 10**400, 0.5, -0.5, math.nan, math.inf, 1j),
    *("", "x", "auto", "json_object", "\ud800", "a\x00b", "a\nb", "é", "x" * 1000, b"", b"x", bytearray(b"x")),
    *([], [None], [1], ["x"], ["\ud800"], [b"x"], [[]], [{}], ("x", 1), (1, 2, 3), CYCLE, DEEP, {1, 2}, range(3)),
    *({}, {"a": 1}, {1: 2}, {"role": None}, {"role": "user"}, {"role": "user", "content": 5}, {"type": "function"}),
    {"role": "user", "content": "\ud800"},
    {"role": "assistant", "tool_calls": [{"id": 5, "function": {"name": b"f", "arguments": {"a": math.nan}}}]},
    {"function": {"name": "f", "parameters": {"a": {1, 2}}}},
    {"type": "json_schema", "json_schema": {"schema": DEEP}},
    {"json_schema": {"schema": math.nan}},
    {"\ud800": "\ud800"},
    {"x-a": 5},
    {"x-a-bin": "text"},
    {b"x": "y"},
    {None: None},
    *(object(), Unprintable(), object, int, City, list[int], int | None, forecast, print, len, lambda: 5, abs),
    *(timedelta(seconds=3), datetime.now(UTC), decimal.Decimal("1.5"), Path("x"), iter([1, None]), asyncio, ...),
    *(Message(), Tool(), CompleteRequest(), GetModelRequest(), City(name="Rome"), COMPLETION, COMPLETION.choices[0]),
    *(COMPLETION.message, tool_call("f", "{}"), TLS(), rpcs.COMPLETE, RequestError("x"), Client, NotImplemented),
]


def named(value: object) -> str:
    try:
        text = re.sub(" at 0x[0-9a-f]+", "", repr(value))  # an address differs from process to process
        return f"{type(value).__name__} {text:.30}".encode("ascii", "backslashreplace").decode()
    except (RuntimeError, RecursionError):
        return f"{type(value).__name__}"


IDS = [f"{number} {named(value)}" for number, value in enumerate(VALUES)]
every_value = pytest.mark.parametrize("value", VALUES, ids=IDS)


def attempt(action: Callable[[], object]) -> OnwardError | None:
    """The error of an action, which must have a message that can be printed."""
    try:
        action()
    except OnwardError as error:
        str(error).encode()
        return error
    return None


@every_value
def test_no_option_of_a_request_raises_anything_else(value: object) -> None:
    rejected = 0
    for name in RequestOptions.__optional_keys__:
        options: Any = {name: value}
        rejected += attempt(lambda options=options: complete_request("Hi", **options)) is not None
    rejected += attempt(lambda: complete_request(cast("Any", value))) is not None
    rejected += attempt(lambda: complete_request(cast("Any", [value, value]))) is not None

    assert rejected or value in {None, False}


@every_value
def test_no_option_of_a_client_or_call_raises_anything_else(value: object) -> None:
    given = cast("Any", value)
    errors: list[OnwardError | None] = []
    for name in ClientOptions.__optional_keys__:
        errors.append(attempt(lambda name=name: Client("localhost:1", **{name: given})))
        errors.append(attempt(lambda name=name: AsyncClient("localhost:1", **{name: given})))
    for name in ("target", "tls", "channel_options", "interceptors", "channel"):
        arguments: dict[str, Any] = {"target": "localhost:1", name: value}
        errors += [
            attempt(lambda given=arguments: Client(**given)),
            attempt(lambda given=arguments: AsyncClient(**given)),
        ]
    with Client("localhost:1") as client:
        errors.extend(
            attempt(lambda name=name: client.stream("Hi", **{name: given})) for name in CallOptions.__optional_keys__
        )
        errors.extend(
            attempt(lambda name=name: client.with_options(**{name: given})) for name in ClientOptions.__optional_keys__
        )

    assert all(error is None or type(error) is RequestError for error in errors)
    assert any(errors) or value is None


def calls(client: Client, value: Any) -> Iterator[Callable[[], object]]:  # noqa: ANN401 - anything
    """Every method that makes a call, with a value in each of its places."""
    yield lambda: client.complete(value, timeout=5, max_retries=0)
    yield lambda: client.stream(value)
    yield lambda: client.parse(value, "Hi", timeout=5)
    yield lambda: client.parse_stream(value, "Hi")
    yield lambda: client.count_tokens(value, timeout=5)
    yield lambda: client.tokenize(value, timeout=5)
    yield lambda: client.tokenize("Hi", model=value, timeout=5)
    yield lambda: client.tokenize("Hi", no_special_tokens=value, timeout=5)
    yield lambda: client.detokenize(value, timeout=5)
    yield lambda: client.detokenize([1], keep_special_tokens=value, timeout=5)
    yield lambda: client.model(value, timeout=5)
    yield lambda: client.health(value, timeout=5)
    yield lambda: client.call(value, GetModelRequest(), timeout=5)
    yield lambda: client.call(rpcs.GET_MODEL, value, timeout=5)


@pytest.fixture(scope="module")
def refusing() -> Iterator[FakeServer]:
    """A server that fails every call: what reaches it was accepted by the client."""
    fake = FakeServer()
    yield fake
    fake.stop()


@every_value
def test_no_method_raises_anything_else(refusing: FakeServer, value: object) -> None:
    with Client(refusing.target) as client:
        errors = [attempt(action) for action in calls(client, value)]

    assert all(error is None or isinstance(error, RequestError | APIError) for error in errors)
    assert any(isinstance(error, RequestError) for error in errors)


@every_value
async def test_no_method_of_the_asyncio_client_raises_anything_else(refusing: FakeServer, value: Any) -> None:  # noqa: ANN401
    async with AsyncClient(refusing.target) as client:
        errors: list[OnwardError] = []
        for action in calls(cast("Client", client), value):
            try:
                made = action()
                if asyncio.iscoroutine(made):
                    await made
            except OnwardError as error:
                errors.append(error)

    assert all(isinstance(error, RequestError | APIError) for error in errors)
    assert any(isinstance(error, RequestError) for error in errors)


@every_value
def test_no_helper_raises_anything_else(value: Any) -> None:  # noqa: ANN401 - anything
    errors = [
        attempt(action)
        for action in (
            lambda: system(value),
            lambda: user(value),
            lambda: user("Hi", name=value),
            lambda: assistant(value),
            lambda: assistant(tool_calls=value),
            lambda: assistant(tool_calls=[value]),
            lambda: assistant(reasoning=value),
            lambda: assistant(prefix=value),
            lambda: tool_result(value, "sunny"),
            lambda: tool_result(tool_call("f", "{}"), value),
            lambda: Conversation(value),
            lambda: Conversation("Hi").append("Hi", value),
            lambda: TLS(ca=value).credentials(),
            lambda: COMPLETION.parse(value),
            lambda: COMPLETION.parse(str, index=value),
            lambda: CALLED.parse_tool_calls(value),
            lambda: CALLED.parse_tool_calls(forecast, index=value),
        )
    ]

    assert all(error is None or isinstance(error, RequestError | OutputError) for error in errors)
    assert any(isinstance(error, RequestError) for error in errors)


WRONG: list[tuple[Callable[[Any], object], str]] = [
    (
        lambda client: client.complete("a\ud800b"),
        r"messages: has the lone surrogate '\ud800' at character 1, which is not valid Unicode; replace it, for exam",
    ),
    (
        lambda client: client.complete([user("Hi"), {"role": "user", "content": "\udfff"}]),
        r"messages[1].content: has the lone surrogate '\udfff' at character 0",
    ),
    (lambda client: client.complete("Hi", stop=["\ud800"]), "sampling.stop[0]: has the lone surrogate"),
    (lambda client: client.complete("Hi", metadata={"a": "\ud800"}), "metadata['a']: has the lone surrogate"),
    (lambda client: client.complete(b"Hi"), "messages: must be a string, a message or a list of messages, not b'Hi'"),
    (lambda client: client.complete(5), "messages: must be a string, a message or a list of messages, not 5"),
    (
        lambda client: client.complete(["Hi", None]),
        "messages[1]: must be a message, a dict, a string or a completion, not None",
    ),
    (lambda client: client.complete([b"Hi"]), "messages[0]: must be a message, a dict, a string or a completion"),
    (
        lambda client: client.complete([{"role": "tool", "content": {"a": 1}}]),
        "messages[0].content: must be a string or a list of parts, not {'a': 1}",
    ),
    (lambda client: client.complete("Hi", prompt=b"x"), "prompt: must be a string or a list of token ids, not b'x'"),
    (lambda client: client.complete("Hi", temperature="0.5"), "sampling.temperature: must be a number, not '0.5'"),
    (lambda client: client.complete("Hi", max_tokens=2.5), "sampling.max_tokens: must be an integer, not 2.5"),
    (
        lambda client: client.complete("Hi", max_tokens=5_000_000_000),
        "sampling.max_tokens: 5000000000 is outside [-2147483648, 2147483647]",
    ),
    (lambda client: client.complete("Hi", n=True), "n: must be an integer, not True"),
    (lambda client: client.complete("Hi", ignore_eos="yes"), "sampling.ignore_eos: must be True or False, not 'yes'"),
    (lambda client: client.complete("Hi", logit_bias={"a": 1}), "sampling.logit_bias key: must be an integer, not 'a'"),
    (
        lambda client: client.complete("Hi", reasoning_effort="minimal"),
        "reasoning_effort: must be one of none, low, medium, high, not 'minimal'",
    ),
    (
        lambda client: client.complete("Hi", tools=forecast),
        "tools: must be a list of tools, not one tool; write tools=[<function forecast",
    ),
    (
        lambda client: client.complete("Hi", tools=[{"type": "function", "name": "f"}]),
        "tools[0]: put the fields of the function inside `function`: {'type': 'function', 'function': {'name': ...",
    ),
    (
        lambda client: client.complete("Hi", tool_choice={"type": "tool", "name": "f"}),
        "tool_choice: is {'type': 'tool', 'name': 'f'}; to require a function, pass its name in a list, such as",
    ),
    (
        lambda client: client.complete("Hi", response_format={"type": "json_schema", "name": "a", "schema": {}}),
        "response_format: put name and schema inside `json_schema`: {'type': 'json_schema', 'json_schema': {'name': ",
    ),
    (
        lambda client: client.complete("Hi", max_tokens=1, max_completion_tokens=2),
        "max_completion_tokens: is another name of max_tokens; set one of them",
    ),
    (lambda client: client.complete("Hi", timeout="3"), "timeout: must be a number, not '3'"),
    (lambda client: client.complete("Hi", timeout=timedelta(seconds=-1)), "timeout: must be a positive number of sec"),
    (lambda client: client.complete("Hi", max_retries="3"), "max_retries: must be an integer, not '3'"),
    (lambda client: client.complete("Hi", request_id=b"a"), "request_id: must be a string, not b'a'"),
    (lambda client: client.complete("Hi", headers=["a"]), "headers: must be a dict, not ['a']"),
    (
        lambda client: client.complete("Hi", headers={"x-bin": "a"}),
        "headers['x-bin']: must be bytes, because its name ends in `-bin`, not 'a'",
    ),
    (
        lambda client: client.complete("Hi", headers={"grpc-timeout": "1S"}),
        "headers['grpc-timeout']: names that start with `grpc-` are reserved",
    ),
    (lambda client: client.parse(cast("Any", "City"), "Hi"), "kind: must be a type, such as a pydantic model or list["),
    (lambda client: client.parse(cast("Any", City(name="a")), "Hi"), "kind: must be a type, such as a pydantic model"),
    (lambda client: client.tokenize(cast("Any", ["Hi"])), "source: must be a string, or a request of `complete_requ"),
    (lambda client: client.detokenize(cast("Any", "Hi")), "token_ids: must be a list, not 'Hi'"),
    (lambda client: client.detokenize(cast("Any", [1, "a"])), "token_ids[1]: must be an integer, not 'a'"),
    (lambda client: client.model(cast("Any", 5)), "model: must be a string, not 5"),
    (lambda client: client.health(cast("Any", 5)), "service: must be a string, not 5"),
    (
        lambda client: client.call(rpcs.GET_MODEL, cast("Any", CompleteRequest())),
        "request: must be a GetModelRequest, not ",
    ),
    (lambda client: client.call(cast("Any", "GetModel"), GetModelRequest()), "rpc: must be an RPC of `onward_client."),
    (
        lambda client: client.call(cast("Any", rpcs.STREAM_COMPLETE), GetModelRequest()),
        "rpc: STREAM_COMPLETE returns a stream; use `stream`",
    ),
]


@pytest.mark.parametrize(("action", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_the_error_names_the_field_and_the_remedy(
    client: Client, server: FakeServer, action: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        action(client)

    assert str(raised.value).startswith(message)
    assert not server.seen


def test_bytes_are_read_as_bytes() -> None:
    assert build(Token, "token", {"token": b"\xff"}) == Token(token=b"\xff")
    with pytest.raises(RequestError, match=r"^token\.token: must be bytes, not 'a'"):
        build(Token, "token", {"token": "a"})


def test_a_format_without_a_schema_is_rejected() -> None:
    with pytest.raises(RequestError, match=r"^response_format\.json_schema\.schema: is not set"):
        complete_request("Hi", response_format=cast("Any", {"json_schema": {"name": "a"}}))


def test_top_logprobs_need_logprobs() -> None:
    with pytest.raises(RequestError, match=r"^top_logprobs: needs logprobs=True"):
        complete_request("Hi", logprobs=False, top_logprobs=3)


def test_a_part_of_a_message_must_be_text() -> None:
    with pytest.raises(RequestError, match=r"^messages\[0\]\.content\[0\]: must be a string or a dict such as"):
        complete_request([cast("Any", {"role": "user", "content": [5]})])


TARGETS = [
    (None, "target: must be 'host:port', such as '127.0.0.1:50051', not None; pass it, or set ONWARD_TARGET"),
    ("", "target: must be 'host:port', such as '127.0.0.1:50051', not ''"),
    (50051, "target: must be 'host:port', such as '127.0.0.1:50051', not 50051"),
    ("http://localhost:50051/v1", "target: 'http://localhost:50051/v1' is a URL; use 'localhost:50051' and tls=False"),
    ("https://a.example", "target: 'https://a.example' is a URL; use 'a.example' and tls=True"),
    ("grpc://a.example:1", "target: 'grpc://a.example:1' is a URL; use 'a.example:1' and tls=False"),
    ("GRPCS://a.example:1", "target: 'GRPCS://a.example:1' is a URL; use 'a.example:1' and tls=True"),
    ("a b:1", "target: 'a b:1' has spaces or control characters"),
    ("a\x00:1", r"target: 'a\x00:1' has spaces or control characters"),
    ("\ud800:1", "target: has the lone surrogate"),
    ("localhost:99999", "target: the port of 'localhost:99999' is outside [0, 65535]"),
]


@pytest.mark.parametrize(("target", "message"), TARGETS, ids=[named(target) for target, _ in TARGETS])
def test_a_wrong_target_is_rejected_when_the_client_is_created(connect: Connect, target: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(RequestError) as raised:
        connect(target)

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("keyword", "advice"),
    [
        ("stream", "call `stream(...)` instead of `complete(...)`"),
        ("functions", "use `tools`"),
        ("function_call", "use `tool_choice`"),
        ("stop_sequences", "use `stop`"),
        ("random_seed", "use `seed`"),
        ("max_new_tokens", "use `max_tokens`"),
        ("extra_headers", "use `headers`"),
        ("timeout_ms", "use `timeout`, in seconds"),
        ("temprature", "did you mean 'temperature'?"),
    ],
)
def test_a_keyword_of_another_client_is_rejected_with_advice(client: Client, keyword: str, advice: str) -> None:
    options: Any = {keyword: 1}

    with pytest.raises(TypeError) as raised:
        client.complete("Hi", **options)

    assert str(raised.value) == f"unexpected keyword argument {keyword!r}; {advice}"


FUNCTION: dict[str, Any] = {"name": "forecast", "parameters": {"type": "object"}}
FORECAST = {"type": "function", "function": FUNCTION}
SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_completion_tokens": 5}, {"max_tokens": 5}),
    ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
    ({"stop": "END"}, {"stop": ["END"]}),
    ({"logit_bias": {"5": -100}}, {"logit_bias": {5: -100.0}}),
    ({"response_format": {"type": "text"}}, {"response_format": "text"}),
    ({"response_format": {"type": "json_object"}}, {"response_format": "json_object"}),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"tool_choice": ["f"]}),
    ({"tool_choice": "any"}, {"tool_choice": "required"}),
    ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
        {"tool_choice": {"mode": "auto", "function_names": ["f"]}},
    ),
    ({"tools": [FORECAST]}, {"tools": [{"function": {"name": "forecast", "parameters": '{"type": "object"}'}}]}),
    ({"tools": ({**FORECAST, "function": {**FUNCTION, "strict": None}},)}, {"tools": [FORECAST]}),
    ({"timeout": timedelta(minutes=1)}, {"timeout": 60}),
]


@pytest.mark.parametrize(("openai", "own"), SAME, ids=[str(openai) for openai, _ in SAME])
def test_spellings_of_openai_that_mean_the_same_are_taken(
    client: Client, server: FakeServer, openai: dict[str, Any], own: dict[str, Any]
) -> None:
    server.script.extend([text_response()] * 2)

    client.complete("Hi", **openai)
    client.complete("Hi", **own)

    first, second = server.seen
    assert first.request == second.request
    assert abs(first.seconds_left - second.seconds_left) < 30


def test_messages_of_openai_that_mean_the_same_are_taken() -> None:
    dumped = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
    }

    made = complete_request([cast("Any", dumped), cast("Any", {"role": "user", "content": ["a", {"text": "b"}]})])

    assert list(made.messages) == [
        assistant(tool_calls=[tool_call("f", '{"a": 1}')], reasoning="hm"),
        Message(role="ROLE_USER", content=[{"text": "a"}, {"text": "b"}]),
    ]


def test_binary_headers_are_sent_as_bytes(client: Client, server: FakeServer) -> None:
    server.script.append(text_response())

    client.complete("Hi", headers={"x-trace-bin": b"\x00\xff"})

    assert server.seen[0].metadata["x-trace-bin"] == b"\x00\xff"


def test_health_of_an_unknown_service_says_so(client: Client) -> None:
    with pytest.raises(APIError) as raised:
        client.health("nope", request_id="mine")

    assert str(raised.value) == (
        "NOT_FOUND: the server does not know this service; leave it out to ask for the whole server (request id mine)"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_client_that_was_used_before_a_fork_is_rejected_after_it(server: FakeServer) -> None:
    server.script.append(text_response())
    reading, writing = os.pipe()
    with Client(server.target) as client:
        client.complete("Hi")
        child = os.fork()
        if not child:  # pragma: no cover - in another process
            error = attempt(lambda: client.complete("Hi"))
            os.write(writing, str(error).encode())
            os._exit(0)
        os.close(writing)
        told = os.read(reading, 1000).decode()
        os.close(reading)
        os.waitpid(child, 0)

    assert told == "the client was used before this process was forked; create a client in each process"


def test_a_completion_is_a_message_of_the_next_request(client: Client, server: FakeServer) -> None:
    server.script.append(text_response("Hello."))

    client.complete(["Hi", COMPLETION, COMPLETION.choices[0], COMPLETION.message, "And?"])

    request = server.seen[0].request
    assert isinstance(request, CompleteRequest)
    assert list(request.messages) == [user("Hi"), *[assistant("Hello.")] * 3, user("And?")]


@pytest.mark.parametrize(
    "single",
    [{"role": "user", "content": "Hi"}, user("Hi"), cast("Any", COMPLETION), COMPLETION.message],
    ids=["dict", "message", "completion", "assistant"],
)
def test_a_single_message_is_a_conversation_of_one(single: Any) -> None:  # noqa: ANN401 - of any kind
    made = complete_request(single)

    assert len(made.messages) == 1
    assert made == complete_request([single])


def test_a_completion_in_a_list_of_messages_continues_a_prefix() -> None:
    said: Completion = to_completion(to_reply(response(choice(" are red.")), "id"))

    made = complete_request(["A poem?", assistant("Roses", prefix=True), said])

    assert list(made.messages) == [user("A poem?"), assistant("Roses are red.")]
