import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc._cython import cygrpc

from onward_client import AsyncClient
from onward_server.api import grpc_server
from onward_server.api.server import Ending
from testing.fakes_completion import FakeCompleter
from tests.raw_http2 import EMPTY_MESSAGE, END_STREAM, Kind, frame, http2, number, request
from tests.serving import HELLO, STREAM_HELLO, Served, details, failure, serving

NOT_UTF8 = b"/x\xf9"
PATHS = [
    NOT_UTF8,
    b"\xff",
    b"/\xc3",
    b"/\xed\xa0\x80",
    b"/x\x00",
    b"",
    b"/",
    b"/onward.v1.CompletionService/\xf9",
    b"//",
]


async def call(served: Served, path: bytes) -> None:
    """Calls the path over a connection of its own, and returns once the server has answered."""
    async with http2(served.server.address) as connection:
        await connection.send(request(1, path), frame(Kind.DATA, stream=1, flags=END_STREAM))
        await connection.is_answered(1)


@asynccontextmanager
async def good_calls(served: Served) -> AsyncGenerator[list[str]]:
    """Keeps calling with our client while the block runs; yields the texts of the completions."""
    texts: list[str] = []
    is_over = False
    async with AsyncClient(served.server.address) as client:

        async def keep_calling() -> None:
            while not is_over:
                texts.append((await client.complete("Hi")).text)

        callers = [asyncio.create_task(keep_calling()) for _ in range(4)]
        yield texts
        is_over = True
        await asyncio.gather(*callers)


def reason(error: grpc.aio.AioRpcError) -> str:
    info = details(error)["ErrorInfo"]
    assert isinstance(info, ErrorInfo)
    return info.reason


@pytest.mark.parametrize("path", PATHS, ids=repr)
async def test_a_call_of_any_path_leaves_the_connections_of_others_open(path: bytes) -> None:
    """grpc.aio decodes an unknown path in the task that accepts all calls; an exception there closed the port."""
    completer = FakeCompleter(hangs_after_start=True)
    async with serving(completer) as served:
        running = aiter(served.completions.StreamComplete(STREAM_HELLO))
        await anext(running)
        await call(served, path)
        completer.resume.set()
        events = [event async for event in running]
        response = await served.completions.Complete(HELLO)

    assert events[-1].WhichOneof("event") == "end"
    assert response.model == "fake"


async def test_a_hundred_paths_that_are_not_utf_8_fail_no_good_call() -> None:
    async with serving(FakeCompleter()) as served, good_calls(served) as texts:
        for _ in range(100):
            await call(served, NOT_UTF8)
        assert texts

    assert set(texts) == {"Hello world"}


async def test_an_unknown_method_is_named_as_such_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(FakeCompleter()) as served:
        error = await failure(served.call_with_bytes("/onward.v1.CompletionService/Improve"))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "no such method" in (error.details() or "")
    lines = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [(line["method"], line["code"]) for line in lines] == [("unknown", "UNIMPLEMENTED")]


@pytest.mark.parametrize("is_polite", [True, False], ids=["settings acknowledged", "never acknowledged"])
async def test_open_calls_of_one_connection_are_bounded(*, is_polite: bool) -> None:
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served, http2(served.server.address) as connection:
        if is_polite:
            await connection.acknowledge_settings()
        await connection.send(*(whole_request(stream) for stream in range(1, 4001, 2)))
        await connection.is_answered(3999)  # by a refusal: no call of the completer ends
        while completer.running < 900:
            await served.health()

    assert len(completer.requests) <= 1001


async def test_calls_of_others_are_answered_during_a_flood_of_reset_streams() -> None:
    """Good calls waited for all those of the flood, which took tens of seconds."""
    completer = FakeCompleter()
    async with serving(completer) as served, http2(served.server.address) as connection:
        await served.completions.Complete(HELLO)
        await connection.acknowledge_settings()
        for start in range(1, 20_000, 2000):
            await connection.send(*(reset_request(stream) for stream in range(start, start + 2000, 2)))
            await served.completions.Complete(HELLO, timeout=5)

    assert len(completer.requests) == 11


def whole_request(stream: int) -> bytes:
    return request(stream) + frame(Kind.DATA, EMPTY_MESSAGE, stream=stream, flags=END_STREAM)


def reset_request(stream: int) -> bytes:
    return request(stream) + frame(Kind.RST_STREAM, number(8), stream=stream)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of an unknown method makes core refuse to hand over further calls."""

    async def refuse(core: cygrpc.AioServer) -> None:
        await cygrpc.AioServer._request_call(core)
        raise RuntimeError("no more calls")

    monkeypatch.setattr(grpc_server._Core, "_request_call", refuse)


@pytest.mark.usefixtures("fragile")
async def test_a_server_that_accepts_no_more_calls_ends_as_a_failure_and_tells_running_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such a process lived on without a port, and SIGTERM ended it as a success."""
    completer = FakeCompleter(is_silent=True)
    async with serving(completer) as served:
        running = asyncio.ensure_future(served.server.run_until_signal(served.server.open(), asyncio.Event()))
        silent = served.completions.Complete(HELLO)
        await completer.started.wait()
        async with http2(served.server.address) as connection:
            await connection.send(request(1, NOT_UTF8))
            error = await failure(silent)
        ending = await running

    assert ending is Ending.FAILURE
    assert reason(error) == "SERVER_DRAINING"
    ours = [record for record in caplog.records if record.exc_info and record.name.startswith("onward_server")]
    assert [record.levelname for record in ours] == ["ERROR"]
