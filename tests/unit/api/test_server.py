import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from grpc_health.v1.health_pb2 import HealthCheckResponse

from onward.v1.completion_pb2 import (
    CompleteRequest,
    CompleteResponse,
    RawPrompt,
    StreamCompleteRequest,
    StreamCompleteResponse,
    TokenIds,
)
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from onward.v1.tokenizer_service_pb2 import CountTokensRequest, DetokenizeRequest, TokenizeRequest
from onward_client import AsyncClient, Client, channels
from onward_client.channels import service_config
from onward_server.api import boundary, server
from onward_server.api.access import load_access
from onward_server.api.server import Ending, Server
from onward_server.domain import Completion, CompletionRequest
from onward_server.errors import EngineFailed, EngineOverloaded, FieldViolation, InvalidRequest
from onward_server.settings.server import Settings
from onward_server.version import VERSION
from testing.fakes_completion import CARD, FakeCatalogue, FakeCompleter
from tests.raw_http2 import END_STREAM, Kind, frame, http2, number, request
from tests.serving import HELLO, STREAM_HELLO, Served, details, failure, serving, trailers
from tests.waiting import WAIT_S

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
Answer = (
    grpc.aio.UnaryUnaryCall[CompleteRequest, CompleteResponse]
    | grpc.aio.UnaryStreamCall[StreamCompleteRequest, StreamCompleteResponse]
)
UNKNOWN_FIELD_500 = b"\xa2\x1f\x01x"


def say_hello(served: Served, method: str, *, deadline_s: float | None = None) -> Answer:
    """Requests a completion of "Hi" by either method."""
    if method == "Complete":
        return served.completions.Complete(HELLO, timeout=deadline_s)
    return served.completions.StreamComplete(STREAM_HELLO, timeout=deadline_s)


@dataclass(slots=True)
class Wire:
    """A TCP proxy that can stop forwarding without closing the connection, as after a power cut."""

    address: str = ""
    is_silent: bool = False
    closed_by_server: asyncio.Event = field(default_factory=asyncio.Event)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not self.is_silent:
                    writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def wire_to(address: str) -> AsyncGenerator[Wire]:
    host, _, port = address.rpartition(":")
    wire = Wire()
    ways: list[asyncio.Task[None]] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        there = asyncio.create_task(wire.forward(reader, to_server))
        back = asyncio.create_task(wire.forward(from_server, writer))
        back.add_done_callback(lambda _: wire.closed_by_server.set())
        ways.extend((there, back))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listener:
        wire.address = "{}:{}".format(*listener.sockets[0].getsockname())
        yield wire
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def test_a_unary_call_returns_the_whole_completion() -> None:
    async with serving(FakeCompleter()) as served:
        response = await served.completions.Complete(HELLO)

    assert response.choices[0].message.content[0].text == "Hello world"
    assert response.usage.total_tokens == 6


async def test_a_stream_returns_the_same_completion_in_parts() -> None:
    async with serving(FakeCompleter()) as served:
        events = [event async for event in served.completions.StreamComplete(STREAM_HELLO)]

    assert [event.WhichOneof("event") for event in events] == ["start", "delta", "delta", "finish", "end"]
    assert "".join(event.delta.text for event in events) == "Hello world"


async def test_the_completer_gets_the_request_that_was_sent() -> None:
    completer = FakeCompleter()
    async with serving(completer) as served:
        await served.completions.Complete(CompleteRequest(model="default", n=3))

    assert [(request.model, request.n) for request in completer.requests] == [("default", 3)]


async def test_models_are_listed_in_pages() -> None:
    ids = ["a", "b", "c", "d", "e"]
    completers = [FakeCompleter(card=replace(CARD, id=model_id)) for model_id in ids]
    async with serving(*completers) as served:
        pages: list[list[str]] = []
        token = ""
        while token or not pages:
            page = await served.models.ListModels(ListModelsRequest(page_size=2, page_token=token))
            pages.append([model.id for model in page.models])
            token = page.next_page_token
        unknown = await failure(served.models.ListModels(ListModelsRequest(page_token="x")))

    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert unknown.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_model_is_found_by_its_alias() -> None:
    async with serving(FakeCompleter()) as served:
        response = await served.models.GetModel(GetModelRequest(model="default"))

    assert response.model.id == "fake"


async def test_the_tokenizer_service_counts_tokenizes_and_detokenizes() -> None:
    prompt = CompleteRequest(raw_prompt=RawPrompt(token_ids=TokenIds(ids=[1, 2, 3])))
    async with serving(FakeCompleter()) as served:
        count = await served.tokenizers.CountTokens(CountTokensRequest(request=prompt))
        tokens = await served.tokenizers.Tokenize(TokenizeRequest(text="ab"))
        rendered = await served.tokenizers.Tokenize(TokenizeRequest(request=HELLO))
        text = await served.tokenizers.Detokenize(DetokenizeRequest(token_ids=[97], keep_special_tokens=True))

    assert (count.model, count.prompt_tokens, count.remaining_tokens) == ("fake", 3, 125)
    assert ([token.id for token in tokens.tokens], tokens.prompt) == ([97, 98], "ab")
    assert rendered.prompt == "Hi"
    assert text.text == "a</s>"


async def test_a_large_request_is_served_like_any_other() -> None:
    completer = FakeCompleter()
    async with serving(completer) as served:
        await served.completions.Complete(CompleteRequest(raw_prompt=RawPrompt(text="x" * 1_000_000)))

    assert len(completer.requests) == 1


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x12\x7f"], ids=["no tag", "not UTF-8", "cut off"]
)
@pytest.mark.parametrize("method", ["CompletionService/Complete", "CompletionService/StreamComplete"])
async def test_bytes_that_are_not_the_message_are_an_invalid_argument(method: str, data: bytes) -> None:
    async with serving(FakeCompleter()) as served:
        error = await failure(served.call_with_bytes(f"/onward.v1.{method}", data))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    info, bad_request = details(error)["ErrorInfo"], details(error)["BadRequest"]
    assert isinstance(info, ErrorInfo)
    assert isinstance(bad_request, BadRequest)
    assert info.reason == "INVALID_PARAMETER"
    assert bad_request.field_violations[0].field.startswith("onward.v1.")


async def test_the_completer_reports_what_decoding_found() -> None:
    async with serving(FakeCompleter()) as served:
        error = await failure(
            served.completions.StreamComplete(
                StreamCompleteRequest(request=CompleteRequest.FromString(UNKNOWN_FIELD_500))
            )
        )

    bad_request = details(error)["BadRequest"]
    assert isinstance(bad_request, BadRequest)
    assert [violation.field for violation in bad_request.field_violations] == ["500"]


async def test_an_unknown_model_is_not_found() -> None:
    async with serving(FakeCompleter()) as served:
        error = await failure(served.completions.Complete(CompleteRequest(model="x")))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "ResourceInfo" in details(error)


def levels_of(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> list[int]:
    """The levels of the records of an error. At any time, asyncio may log one that a task of an earlier test raised."""
    return [record.levelno for record in caplog.records if record.exc_info and record.exc_info[0] is error]


async def test_a_bug_is_an_internal_error_without_details_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(FakeCompleter(errors=[ZeroDivisionError("canary")])) as served:
        error = await failure(served.completions.Complete(HELLO))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "canary" not in repr(error)
    assert levels_of(ZeroDivisionError, caplog) == [logging.ERROR]


class Panic(BaseException):
    """Derived from BaseException, as panics in Rust are."""


@pytest.mark.parametrize("method", ["Complete", "StreamComplete"])
async def test_a_panic_ends_its_call_at_once_as_an_internal_error(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a call was never answered, because a panic is not an Exception."""
    async with serving(FakeCompleter(errors=[Panic("canary")])) as served:
        error = await failure(say_hello(served, method))
        await served.completions.Complete(HELLO)

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "canary" not in repr(error)
    assert levels_of(Panic, caplog) == [logging.ERROR]


async def test_an_error_after_the_first_event_ends_the_stream_with_its_status() -> None:
    async with serving(FakeCompleter(error_after_start=EngineFailed("boom"))) as served:
        events = aiter(served.completions.StreamComplete(STREAM_HELLO))
        first = await anext(events)
        error = await failure(events)

    assert first.WhichOneof("event") == "start"
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_callers_request_id_is_returned_with_completions_and_errors() -> None:
    metadata = (("x-request-id", "mine-1"),)
    async with serving(FakeCompleter(errors=[InvalidRequest.of("n", "no")])) as served:
        error = await failure(served.completions.Complete(HELLO, metadata=metadata))
        call = served.completions.Complete(HELLO, metadata=metadata)
        await call
        received = await call.trailing_metadata()

    request_info = details(error)["RequestInfo"]
    assert isinstance(request_info, RequestInfo)
    assert request_info.request_id == trailers(error)["x-request-id"] == "mine-1"
    assert dict(received)["x-request-id"] == "mine-1"


@pytest.mark.parametrize("unfit", ["", "two words", "x" * 129], ids=["empty", "a space", "too long"])
async def test_an_unsuitable_request_id_is_replaced(unfit: str) -> None:
    async with serving(FakeCompleter()) as served:
        call = served.completions.Complete(HELLO, metadata=(("x-request-id", unfit),))
        await call
        received = await call.trailing_metadata()

    assert dict(received)["x-request-id"] not in ("", unfit)


async def test_a_client_retries_an_overloaded_server_after_the_delay_that_it_asked_for() -> None:
    """A client retries only if nothing was sent before. The pushback replaces the client's own backoff."""
    completer = FakeCompleter(errors=[EngineOverloaded(queue_depth=1, queue_limit=1, retry_after_s=0.3)] * 2)
    options = [("grpc.service_config", json.dumps(service_config(3)))]
    async with serving(completer, options=options) as served:
        started_s = time.monotonic()
        events = [event async for event in served.completions.StreamComplete(STREAM_HELLO)]
        elapsed_s = time.monotonic() - started_s

    assert len(events) == 5
    assert len(completer.requests) == 3
    assert elapsed_s >= 0.4  # twice 0.3 s, each shortened by up to a quarter


async def test_the_status_of_an_overloaded_server_has_the_retry_delay() -> None:
    completer = FakeCompleter(errors=[EngineOverloaded(queue_depth=1, queue_limit=1, retry_after_s=0.3)])
    async with serving(completer) as served:
        error = await failure(served.completions.Complete(HELLO))

    retry = details(error)["RetryInfo"]
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(retry, RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == int(str(trailers(error)["grpc-retry-pushback-ms"]))


async def test_no_headers_are_sent_before_the_first_event() -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        call = served.completions.StreamComplete(STREAM_HELLO)
        headers = asyncio.ensure_future(call.initial_metadata())
        await completer.started.wait()
        await served.health()
        is_sent = headers.done()
        call.cancel()
        await asyncio.gather(headers, return_exceptions=True)

    assert not is_sent


@pytest.mark.parametrize("method", ["Complete", "StreamComplete"])
async def test_a_cancellation_by_the_client_ends_the_request(method: str) -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        call = say_hello(served, method)
        await completer.started.wait()
        call.cancel()
        await completer.ended.wait()

    assert completer.running == 0


async def test_a_cancellation_during_a_blocked_write_ends_the_request() -> None:
    """In a handler that yields, grpc.aio raises no CancelledError there. Ours writes, so its `finally` runs."""
    completer = FakeCompleter(texts=("x" * 1_000_000,) * 100)
    async with serving(completer) as served:
        call = served.completions.StreamComplete(STREAM_HELLO)
        await call.read()
        call.cancel()
        await completer.ended.wait()

    assert completer.running == 0


async def test_a_stream_that_is_not_read_ends_its_request_and_says_so_when_it_is_read_again() -> None:
    completer = FakeCompleter(texts=("x" * 1_000_000,) * 100)
    async with serving(completer, stall_timeout_s=0.1) as served:
        events = aiter(served.completions.StreamComplete(STREAM_HELLO))
        await anext(events)
        await completer.ended.wait()
        error = await failure(events)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.details() == "the client has read nothing of the stream for 0.1 s, the limit of this server"
    assert details(error).keys() == {"RequestInfo"}


async def test_a_stream_whose_client_never_lets_a_message_through_ends_its_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(boundary, "_STATUS_S", 0.01)
    completer = FakeCompleter()
    message = STREAM_HELLO.SerializeToString()
    async with serving(completer, stall_timeout_s=0.1) as served, http2(served.server.address) as connection:
        await connection.send(
            frame(Kind.SETTINGS, b"\x00\x04" + number(0)),  # the initial window of streams
            request(1, b"/onward.v1.CompletionService/StreamComplete"),
            frame(Kind.DATA, b"\x00" + number(len(message)) + message, stream=1, flags=END_STREAM),
        )
        await completer.ended.wait()
        await served.server.drain(5)

    assert completer.running == 0
    lines = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [line["code"] for line in lines] == ["DEADLINE_EXCEEDED"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("method", ["Complete", "StreamComplete"])
async def test_a_deadline_of_the_client_ends_the_request(method: str) -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        codes = await codes_until_started(served, completer, method)
        await completer.ended.wait()

    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}


async def codes_until_started(served: Served, completer: FakeCompleter, method: str) -> set[grpc.StatusCode]:
    """Calls with a short deadline. If it passed before the completer got the request, calls again with a longer one."""
    codes: set[grpc.StatusCode] = set()
    deadline_s = 0.05
    while not completer.started.is_set():
        codes.add((await failure(say_hello(served, method, deadline_s=deadline_s))).code())
        deadline_s *= 4
    return codes


@pytest.mark.parametrize("deadline_s", [None, 60.0], ids=["no deadline", "a later one"])
@pytest.mark.parametrize("method", ["Complete", "StreamComplete"])
async def test_the_time_limit_of_the_server_overrides_a_later_deadline(method: str, deadline_s: float | None) -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer, max_deadline_s=0.05) as served:
        error = await failure(say_hello(served, method, deadline_s=deadline_s))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.details() == "the call took longer than 0.05 s, the time limit of this server"
    assert completer.running == 0


async def test_health_is_served_while_every_slot_is_taken() -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        calls = [served.completions.Complete(HELLO) for _ in range(200)]
        await completer.started.wait()
        answers = [
            await served.health(service)
            for service in (
                "",
                "onward.v1.CompletionService",
                "onward.v1.ModelService",
                "onward.v1.TokenizerService",
            )
        ]
        for call in calls:
            call.cancel()

    assert answers == [SERVING] * 4


async def test_no_call_of_a_burst_on_one_channel_is_dropped() -> None:
    """By default, gRPC drops calls at random once 1,000 are pending, and the client sees CANCELLED."""
    async with serving(FakeCompleter()) as served, AsyncClient(served.server.address) as client:
        completions = await asyncio.gather(*(client.complete("Hi", max_retries=0) for _ in range(3000)))

    assert {completion.text for completion in completions} == {"Hello world"}


@dataclass(slots=True, kw_only=True)
class BusyCompleter(FakeCompleter):
    """Takes a few turns of the event loop for each completion."""

    peak: int = 0
    """The largest number of calls at the same time."""
    at_once: int = 0

    async def complete(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> Completion:
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        for _ in range(20):
            await asyncio.sleep(0)
        self.at_once -= 1
        return await super(BusyCompleter, self).complete(request, violations=violations)


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
async def test_a_client_limits_the_calls_that_it_has_open(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_OPEN_CALLS", 2)
    completer = BusyCompleter()
    async with serving(completer) as served:
        if kind == "asyncio":
            async with AsyncClient(served.server.address) as client:
                await asyncio.gather(*(client.complete("Hi") for _ in range(30)))
        else:
            with Client(served.server.address) as client:
                await asyncio.gather(*(asyncio.to_thread(client.complete, "Hi") for _ in range(30)))

    assert len(completer.requests) == 30
    assert completer.peak == 2


async def test_a_request_over_the_size_limit_is_rejected() -> None:
    large = CompleteRequest(raw_prompt=RawPrompt(text="x" * 2000))
    async with serving(FakeCompleter(), max_message_bytes=1024) as served:
        error = await failure(served.completions.Complete(large))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["Complete", "StreamComplete"])
async def test_a_response_over_the_size_limit_has_advice_and_is_not_retried(method: str) -> None:
    """The status of gRPC itself has no reason, and clients requested the whole completion four times."""
    completer = FakeCompleter(texts=("x" * 2000,))
    options = [("grpc.service_config", json.dumps(service_config(3)))]
    async with serving(completer, options=options, max_message_bytes=1024) as served:
        error = await failure(say_hello(served, method))

    info = details(error)["ErrorInfo"]
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(info, ErrorInfo)
    assert info.reason == "MESSAGE_TOO_LARGE"
    assert info.metadata["max_message_bytes"] == "1024"
    assert "request less" in (error.details() or "")
    assert trailers(error)["grpc-retry-pushback-ms"] == "-1"
    assert len(completer.requests) == 1


async def test_headers_over_the_size_limit_are_rejected() -> None:
    async with serving(FakeCompleter()) as served:
        error = await failure(served.completions.Complete(HELLO, metadata=(("x-large", "x" * 20_000),)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_client_may_ping_often_during_a_call_without_messages() -> None:
    """By default, a server closes such a channel with `Too many pings` after 3.1 s, which ends all of its calls."""
    completer = FakeCompleter(is_silent=True)
    pings = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    async with serving(completer, options=pings) as served:
        error = await failure(served.completions.Complete(HELLO, timeout=4))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalive pings are frequent."""
    monkeypatch.setattr(server, "_KEEPALIVE_MS", 200)
    monkeypatch.setattr(server, "_PING_TIMEOUT_MS", 200)


async def call_until_started(channel: grpc.aio.Channel, completer: FakeCompleter) -> None:
    """Makes calls until one starts: on a busy machine, the server may close a connection that answers a ping late."""
    while not completer.started.is_set():
        with contextlib.suppress(grpc.aio.AioRpcError):
            await CompletionServiceStub(channel).Complete(HELLO)


@pytest.mark.usefixtures("impatience")
async def test_the_slot_of_a_client_that_is_gone_is_freed() -> None:
    completer = FakeCompleter(is_silent=True)
    async with (
        serving(completer) as served,
        wire_to(served.server.address) as wire,
        grpc.aio.insecure_channel(wire.address) as channel,
    ):
        calling = asyncio.create_task(call_until_started(channel, completer))
        await completer.started.wait()
        wire.is_silent = True
        await completer.ended.wait()
        calling.cancel()

    assert completer.running == 0


@pytest.mark.usefixtures("impatience")
async def test_a_connection_without_calls_is_closed_if_its_client_is_gone() -> None:
    completer = FakeCompleter()
    async with (
        serving(completer) as served,
        wire_to(served.server.address) as wire,
        grpc.aio.insecure_channel(wire.address) as channel,
    ):
        await call_until_started(channel, completer)
        wire.is_silent = True
        await wire.closed_by_server.wait()


async def test_reflection_can_be_turned_off() -> None:
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    async with serving(FakeCompleter(), reflection=False) as served:
        error = await failure(served.call_with_bytes(method))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_server_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with serving(FakeCompleter(), listen=f"unix:{tmp_path}/socket") as served:
        response = await served.completions.Complete(HELLO)

    assert response.model == "fake"


async def test_until_the_server_opens_health_is_not_serving_and_calls_are_told_when_to_retry() -> None:
    settings = Settings(listen="127.0.0.1:0")
    async with (
        Server(settings, FakeCatalogue((FakeCompleter(),)), load_access(settings)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        served = Served(server, channel)
        statuses = [await served.health(name) for name in ("", "onward.v1.CompletionService")]
        error = await failure(served.completions.Complete(HELLO))
        await server.open()
        statuses += [await served.health(name) for name in ("", "onward.v1.CompletionService")]
        response = await served.completions.Complete(HELLO)

    info, retry = details(error)["ErrorInfo"], details(error)["RetryInfo"]
    assert statuses == [NOT_SERVING, NOT_SERVING, SERVING, SERVING]
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the server is still loading its models; retry after 1 s"
    assert isinstance(info, ErrorInfo)
    assert info.reason == "MODEL_LOADING"
    assert isinstance(retry, RetryInfo)
    assert 750 <= retry.retry_delay.ToMilliseconds() == int(str(trailers(error)["grpc-retry-pushback-ms"]))
    assert response.model == "fake"


async def test_draining_rejects_new_calls_and_lets_running_ones_finish() -> None:
    completer = FakeCompleter(hangs_after_start=True)
    async with serving(completer) as served:
        running = aiter(served.completions.StreamComplete(STREAM_HELLO))
        await anext(running)
        draining = asyncio.ensure_future(served.server.drain(60))
        await served.wait_until_not_serving()
        refused = await failure(served.completions.Complete(HELLO))
        statuses = [await served.health(name) for name in ("", "onward.v1.CompletionService")]
        was_draining = not draining.done()
        completer.resume.set()
        events = [event async for event in running]
        await draining

    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "RetryInfo" in details(refused)
    assert statuses == [NOT_SERVING] * 2
    assert was_draining
    assert events[-1].WhichOneof("event") == "end"


async def test_a_call_that_exceeds_the_grace_time_ends_with_server_draining() -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        call = served.completions.Complete(HELLO)
        await completer.started.wait()
        await served.server.drain(0.01)
        error = await failure(call)

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "RetryInfo" in details(error)
    assert completer.running == 0


async def test_calls_that_arrive_while_the_server_ends_are_never_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRPC ends calls with CANCELLED that arrive before clients have heard that the server stops."""
    monkeypatch.setattr(server, "_FLUSH_S", 0.1)
    errors: list[grpc.aio.AioRpcError] = []
    for _ in range(8):
        async with serving(FakeCompleter()) as served:
            drained = asyncio.Event()
            callers = [asyncio.ensure_future(errors_until(drained, served.server.address)) for _ in range(10)]
            await served.completions.Complete(HELLO)
            await served.server.drain(5)
            drained.set()
            errors += [error for found in await asyncio.gather(*callers) for error in found]

    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    assert reasons_of(errors) == {"SERVER_DRAINING"}


async def errors_until(drained: asyncio.Event, address: str) -> list[grpc.aio.AioRpcError]:
    """Calls on a connection of its own until the server has drained; returns the errors.

    After that, a server of another process may get the same port.
    """
    errors: list[grpc.aio.AioRpcError] = []
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        while not drained.is_set():
            try:
                await CompletionServiceStub(channel).Complete(HELLO)
            except grpc.aio.AioRpcError as error:
                errors.append(error)
    return errors


def reasons_of(errors: Iterable[grpc.aio.AioRpcError]) -> set[str]:
    """The reasons that the errors have; gRPC's own have none."""
    found = (details(error)["ErrorInfo"] for error in errors if "grpc-status-details-bin" in trailers(error))
    return {info.reason for info in found if isinstance(info, ErrorInfo)}


async def test_a_response_that_is_being_sent_is_complete_before_the_server_ends() -> None:
    completer = FakeCompleter(texts=("x" * 2_000_000,))
    async with serving(completer) as served:
        call = served.completions.Complete(HELLO)
        await completer.ended.wait()
        await served.server.drain(5)
        response = await call

    assert len(response.choices[0].message.content[0].text) == 2_000_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_server(number: signal.Signals) -> None:
    async with serving(FakeCompleter()) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(no_loading(), asyncio.Event()))
        await served.completions.Complete(HELLO)
        os.kill(os.getpid(), number)
        ending = await running
        error = await failure(served.completions.Complete(HELLO, timeout=WAIT_S))

    assert ending is Ending.SIGNAL
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_second_signal_ends_running_calls_with_server_draining() -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer, drain_timeout_s=3600) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(no_loading(), asyncio.Event()))
        call = served.completions.Complete(HELLO)
        await completer.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await served.wait_until_not_serving()
        os.kill(os.getpid(), signal.SIGTERM)
        error = await failure(call)
        ending = await running

    info = details(error)["ErrorInfo"]
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert isinstance(info, ErrorInfo)
    assert info.reason == "SERVER_DRAINING"
    assert ending is Ending.SECOND_SIGNAL


async def test_a_dead_engine_ends_the_server_as_a_failure() -> None:
    dead = asyncio.Event()
    async with serving(FakeCompleter()) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(no_loading(), dead))
        await served.completions.Complete(HELLO)
        dead.set()
        ending = await running

    assert ending is Ending.FAILURE


async def test_two_signals_at_once_end_running_calls() -> None:
    """In Python 3.11, `asyncio.wait_for` lost the cancellation of draining, which then took its whole time."""
    completer = FakeCompleter(is_silent=True)
    async with serving(completer, drain_timeout_s=3600) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(no_loading(), asyncio.Event()))
        call = served.completions.Complete(HELLO)
        await completer.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        error = await failure(call)
        ending = await running

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert ending is Ending.SECOND_SIGNAL


async def test_a_terminal_that_closes_drains_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP reads keys and certificates again, unless it comes because the operator closed the window."""
    is_open = [True]

    def isatty(_: int) -> bool:
        return is_open[0]

    monkeypatch.setattr(os, "isatty", isatty)
    async with serving(FakeCompleter()) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(no_loading(), asyncio.Event()))
        await served.health()
        os.kill(os.getpid(), signal.SIGHUP)
        await served.health()
        was_running = not running.done()
        is_open[0] = False
        os.kill(os.getpid(), signal.SIGHUP)
        ending = await running

    assert was_running
    assert ending is Ending.SIGNAL


async def test_a_signal_cancels_loading() -> None:
    async with serving(FakeCompleter()) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(asyncio.Event().wait(), asyncio.Event()))
        await served.health()
        os.kill(os.getpid(), signal.SIGTERM)
        ending = await running

    assert ending is Ending.SIGNAL_WHILE_LOADING


async def no_loading() -> None:
    """The models are loaded."""


async def test_each_call_has_one_log_line_with_counts_and_labels_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = CompleteRequest(raw_prompt=RawPrompt(text="canary"), user="u1", metadata={"team": "x"})
    async with serving(FakeCompleter(texts=("canary",))) as served:
        await served.completions.Complete(secret, metadata=(("x-request-id", "id-1"),))
        async for _ in served.completions.StreamComplete(StreamCompleteRequest(request=secret)):
            pass
        await failure(served.completions.Complete(CompleteRequest(model="x")))

    lines = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [line["code"] for line in lines] == ["OK", "OK", "NOT_FOUND"]
    assert (
        lines[0].items()
        >= {
            "request_id": "id-1",
            "method": "onward.v1.CompletionService/Complete",
            "model": "fake",
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "queue_s": 0.001,
            "finish_reasons": ["stop"],
            "user": "u1",
            "metadata": {"team": "x"},
        }.items()
    )
    assert lines[1].items() >= {"streamed_tokens": 1, "finish_reasons": ["stop"], "user": "u1"}.items()
    assert lines[2].items() >= {"reason": "MODEL_NOT_FOUND"}.items()
    assert "canary" not in repr([record.__dict__ for record in caplog.records])


async def test_health_lists_every_service(caplog: pytest.LogCaptureFixture) -> None:
    """The method of grpcio raises NotImplementedError, whose traceback was logged."""
    async with serving(FakeCompleter()) as served:
        listed = await health_list(served)
    names = ("", "onward.v1.CompletionService", "onward.v1.ModelService", "onward.v1.TokenizerService")

    assert listed == dict.fromkeys(names, SERVING)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def health_list(served: Served) -> dict[str, int]:
    described = descriptor_pool.Default().FindMessageTypeByName("grpc.health.v1.HealthListResponse")
    response_type = GetMessageClass(described)
    method = served.channel.unary_unary("/grpc.health.v1.Health/List", bytes, response_type.FromString)
    response = MessageToDict(await method(b""), use_integers_for_enums=True)
    return {name: status["status"] for name, status in response["statuses"].items()}


async def test_the_error_for_an_unknown_health_service_lists_the_known_ones() -> None:
    async with serving(FakeCompleter()) as served:
        error = await failure(served.health("nope"))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == (
        "service: 'nope' is not served here; leave it empty, or name one of onward.v1.CompletionService, "
        "onward.v1.ModelService, onward.v1.TokenizerService"
    )


async def test_every_call_tells_the_version_of_the_server() -> None:
    async with serving(FakeCompleter()) as served:
        model = await served.models.GetModel(GetModelRequest(model="fake"))
        models = await served.models.ListModels(ListModelsRequest())
        health = served.channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)(b"")
        completion = served.completions.Complete(HELLO)
        received = [dict(await call.trailing_metadata())["x-onward-version"] for call in (health, completion)]
        error = await failure(served.completions.Complete(CompleteRequest(model="x")))

    assert (model.server_version, models.server_version) == (VERSION, VERSION)
    assert [*received, trailers(error)["x-onward-version"]] == [VERSION] * 3
