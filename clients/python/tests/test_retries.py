"""When a call is tried again, and how a burst of calls gets through a small server."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from fake_server import WAIT_S
from onward.v1.completion_pb2 import (
    CompleteRequest,
    CompleteResponse,
    StreamCompleteRequest,
    StreamCompleteResponse,
)
from onward.v1.completion_service_pb2_grpc import CompletionServiceServicer, add_CompletionServiceServicer_to_server
from onward_client import APIError, AsyncClient, Client, OverloadedError, UnavailableError, rpcs
from onward_client.calls import CallDefaults, CallOptions
from onward_client.errors import RpcFailure
from onward_client.retries import Attempts
from responses import events, text_response

Code = grpc.StatusCode


def refusal(pushback_ms: int | str | None = None, *, code: grpc.StatusCode = Code.RESOURCE_EXHAUSTED) -> RpcFailure:
    trailers = () if pushback_ms is None else (("grpc-retry-pushback-ms", str(pushback_ms)),)
    return RpcFailure(code, "full", trailing_metadata=trailers)


def attempts(path: str = rpcs.COMPLETE.path, **options: float) -> Attempts:
    given: CallOptions = {**options}  # pyright: ignore[reportAssignmentType] - of any option
    return Attempts(CallDefaults().call(given), path)


def waits(tried: Attempts, error: RpcFailure, most: int) -> list[float]:
    """The waits between attempts that all fail with the same error, until the last attempt or `most` of them."""
    found: list[float] = []
    try:
        while len(found) < most:
            tried.begin()
            found.append(tried.wait_after(error))
    except APIError as raised:
        assert raised.attempts == len(found) + 1  # noqa: PT017 - every failure
    return found


def test_without_advice_of_the_server_the_waits_double_and_end_after_four_attempts() -> None:
    found = waits(attempts(), refusal(code=Code.UNAVAILABLE), 10)

    assert len(found) == 3
    assert all(0.8 * mean <= wait <= 1.2 * mean for wait, mean in zip(found, (0.2, 0.4, 0.8), strict=True))


def test_the_wait_is_the_one_that_the_server_asks_for() -> None:
    assert waits(attempts(), refusal(1500), 20) == [1.5] * 20


def test_a_server_that_asks_for_an_immediate_return_is_not_flooded() -> None:
    assert waits(attempts(), refusal(0), 6) == [0, 0, 0, 0.2, 0.2, 0.2]


def test_retry_info_stands_in_for_a_trailer_that_a_proxy_dropped() -> None:
    status = Status()
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=2)))
    details = (("grpc-status-details-bin", status.SerializeToString()),)

    assert waits(attempts(), RpcFailure(Code.RESOURCE_EXHAUSTED, "full", trailing_metadata=details), 5) == [2] * 5


@pytest.mark.parametrize("pushback", [-1, "soon", ""], ids=repr)
def test_a_pushback_that_is_no_time_forbids_a_retry(pushback: int | str) -> None:
    assert waits(attempts(), refusal(pushback), 5) == []


def test_a_wait_beyond_the_deadline_ends_the_call_with_the_refusal() -> None:
    tried = attempts(timeout=1)
    tried.begin()

    with pytest.raises(UnavailableError):
        tried.wait_after(refusal(1500, code=Code.UNAVAILABLE))


def test_a_call_whose_output_was_partly_seen_is_not_tried_again() -> None:
    tried = attempts()
    tried.commit()

    assert waits(tried, refusal(1), 5) == []


def test_a_health_check_is_not_tried_again() -> None:
    assert waits(attempts(rpcs.HEALTH.path), refusal(code=Code.UNAVAILABLE), 5) == []


def test_a_message_over_the_size_limit_is_not_sent_again() -> None:
    tried = attempts()
    tried.begin()

    with pytest.raises(APIError) as raised:
        tried.wait_after(RpcFailure(Code.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (17 vs. 16)"))

    assert raised.value.attempts == 1


class SmallServer(CompletionServiceServicer):
    """Runs `SLOTS` calls at once and queues `QUEUE`. It refuses others with the time until the queue has started.

    It starts to run calls when it has refused those that do not fit.
    """

    SLOTS = 8
    QUEUE = 64
    SECONDS = 0.005

    def __init__(self) -> None:
        self._present = 0
        self._may_run = asyncio.Event()
        self._refusals_to_come = CALLS - self.SLOTS - self.QUEUE
        self._slots = asyncio.Semaphore(self.SLOTS)
        self._random = random.Random("a small server")
        self.refused = 0

    def hold(self) -> None:
        """Runs no calls until those of the next burst that do not fit are refused."""
        self._may_run.clear()
        self._refusals_to_come = self.refused + CALLS - self.SLOTS - self.QUEUE

    async def Complete(  # noqa: N802 - gRPC's name
        self, request: CompleteRequest, context: "grpc.aio.ServicerContext[CompleteRequest, CompleteResponse]"
    ) -> CompleteResponse:
        del request
        await self._take_turn(context)
        return text_response("Hello.")

    async def StreamComplete(  # noqa: N802 - gRPC's name
        self,
        request: StreamCompleteRequest,
        context: "grpc.aio.ServicerContext[StreamCompleteRequest, StreamCompleteResponse]",
    ) -> AsyncIterator[StreamCompleteResponse]:
        del request
        await self._take_turn(context)
        for event in events(text_response("Hello.")):
            yield event

    async def _take_turn(self, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        if self._present >= self.SLOTS + self.QUEUE:
            self.refused += 1
            if self.refused >= self._refusals_to_come:
                self._may_run.set()
            drain_ms = 1000 * self.SECONDS * self.QUEUE / self.SLOTS
            pushback = str(round(drain_ms * self._random.uniform(1, 2)))
            await context.abort(Code.RESOURCE_EXHAUSTED, "full", (("grpc-retry-pushback-ms", pushback),))
        self._present += 1
        try:
            await self._may_run.wait()
            async with self._slots:
                await asyncio.sleep(self.SECONDS)
        finally:
            self._present -= 1


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[SmallServer, str]]:
    small, server = SmallServer(), grpc.aio.server()
    add_CompletionServiceServicer_to_server(small, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield small, f"127.0.0.1:{port}"
    await server.stop(grace=None)


CALLS = 300


async def test_a_burst_of_calls_on_a_small_server_succeeds() -> None:
    async with serving() as (small, target), AsyncClient(target) as client:
        completions = await asyncio.gather(*(client.complete("Hi", timeout=WAIT_S) for _ in range(CALLS)))

    assert [each.text for each in completions] == ["Hello."] * CALLS
    assert small.refused


async def test_a_burst_of_streams_on_a_small_server_succeeds() -> None:
    async def text(client: AsyncClient) -> str:
        async with client.stream("Hi", timeout=WAIT_S) as stream:
            return (await stream.final()).text

    async with serving() as (small, target), AsyncClient(target) as client:
        texts = await asyncio.gather(*(text(client) for _ in range(CALLS)))

    assert texts == ["Hello."] * CALLS
    assert small.refused


async def test_a_burst_of_threads_on_a_small_server_succeeds() -> None:
    def complete(client: Client, number: int) -> str:
        if number % 2:
            return client.complete("Hi", timeout=WAIT_S).text
        with client.stream("Hi", timeout=WAIT_S) as stream:
            return stream.final().text

    def all_at_once(target: str) -> list[str]:
        with Client(target) as client, ThreadPoolExecutor(CALLS) as pool:
            return [each.result() for each in [pool.submit(complete, client, number) for number in range(CALLS)]]

    async with serving() as (small, target):
        texts = await asyncio.to_thread(all_at_once, target)

    assert texts == ["Hello."] * CALLS
    assert small.refused


async def test_the_number_of_attempts_holds_in_a_burst() -> None:
    async with serving() as (_, target), AsyncClient(target, max_retries=1) as client:
        calls = (client.complete("Hi", timeout=WAIT_S) for _ in range(CALLS))
        results = await asyncio.gather(*calls, return_exceptions=True)

    failed = [each for each in results if isinstance(each, BaseException)]
    assert failed
    assert all(isinstance(each, APIError) and each.attempts == 2 for each in failed)


async def test_a_client_still_retries_after_a_burst_of_refusals() -> None:
    """GRPC's throttle counts refusals over all calls of a channel, and then stops every retry."""
    async with serving() as (small, target), AsyncClient(target) as client:
        first = [client.complete("Hi", max_retries=0) for _ in range(CALLS)]
        await asyncio.gather(*first, return_exceptions=True)
        refused = small.refused
        small.hold()
        again = await asyncio.gather(*(client.complete("Hi", timeout=WAIT_S) for _ in range(CALLS)))

    assert small.refused > refused > 0
    assert len(again) == CALLS


def test_overload_without_a_reason_is_an_overload_if_the_server_says_when_to_come_back() -> None:
    tried = attempts(max_retries=0)
    tried.begin()

    with pytest.raises(OverloadedError):
        tried.wait_after(refusal(5))
