"""Hostile clients against a real server, while our client calls it: floods, and requests that ended grpc.aio's task."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from onward_client import APIError, AsyncClient
from tests.http2_abuse import ABUSE, call, flood
from tests.raw_http2 import Kind, connected, frame, http2, number, request
from tests.stress.serve_process import ServeProcess, serve_process
from tests.waiting import Condition

NUM_STREAMS, NUM_FLOODS = 50_000, 4
MAX_P95_S, MAX_GROWTH_MIB = 0.1, 64


@asynccontextmanager
async def good_calls(server: ServeProcess, ended: Condition | None = None) -> AsyncGenerator[list[float]]:
    """Keeps calling while the block runs; yields the durations in seconds. Any error fails the test.

    `ended` is notified of each call that ends.
    """
    durations: list[float] = []
    is_over = False
    async with AsyncClient(server.address, max_retries=0) as client, asyncio.TaskGroup() as callers:

        async def keep_calling() -> None:
            while not is_over:
                started_s = time.perf_counter()
                await client.complete("Hi", max_tokens=4)
                durations.append(time.perf_counter() - started_s)
                if ended is not None:
                    ended.notify()

        callers.create_task(keep_calling())
        yield durations
        is_over = True


def p95(durations: list[float]) -> float:
    return sorted(durations)[int(len(durations) * 0.95)]


async def flooding(address: str, kind: str) -> None:
    """Sends one flood from a process of its own, so that sending does not slow down the calls that are measured."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.stress.test_abuse", address, kind)
    assert await process.wait() == 0


def opened(stream: int) -> bytes:
    return request(stream)


def opened_and_reset(stream: int) -> bytes:
    return request(stream) + frame(Kind.RST_STREAM, number(8), stream=stream)


def called_and_reset(stream: int) -> bytes:
    return call(stream) + frame(Kind.RST_STREAM, number(8), stream=stream)


FLOODS = {part.__name__: part for part in (opened, opened_and_reset, called_and_reset)}


@pytest.mark.parametrize("kind", FLOODS)
async def test_four_floods_of_50_000_streams_slow_down_no_call_and_leave_no_memory(kind: str) -> None:
    async with serve_process() as server:
        async with good_calls(server) as quiet:
            await asyncio.sleep(2)
        before_mib = server.resident_mib()
        async with good_calls(server) as durations:
            for _ in range(NUM_FLOODS):
                await flooding(server.address, kind)
            await asyncio.sleep(1)
        growth_mib = server.resident_mib() - before_mib

    # On a busy machine, calls take longer without any flood, too. The highest percentile measures that, not the server.
    assert p95(durations) <= max(MAX_P95_S, 8 * p95(quiet))
    assert growth_mib <= MAX_GROWTH_MIB


async def test_a_burst_of_10_000_calls_ends_with_ok_or_resource_exhausted_only() -> None:
    codes: Counter[str] = Counter()
    async with serve_process() as server, AsyncClient(server.address, max_retries=0, timeout=120) as client:

        async def complete() -> None:
            try:
                await client.complete("Hi", max_tokens=2)
            except APIError as error:
                codes[error.code.name] += 1
            else:
                codes["OK"] += 1

        await asyncio.gather(*(complete() for _ in range(10_000)))

    assert codes.total() == 10_000
    assert codes.keys() == {"OK", "RESOURCE_EXHAUSTED"}


async def test_every_kind_of_abuse_leaves_the_process_alive_and_fails_no_good_call() -> None:
    ended = Condition()
    async with serve_process() as server, good_calls(server, ended) as durations:
        for number_of_kind, data in enumerate(ABUSE.values(), start=1):
            async with connected(server.address) as connection:
                await connection.send(data)
                await ended.until(partial(has_grown_to, durations, 2 * number_of_kind))
        for _ in range(100):
            async with http2(server.address) as connection:
                await connection.send(call(1, path=b"/x\xf9"))
                await connection.is_answered(1)

    assert len(durations) > 2 * len(ABUSE)


def has_grown_to(durations: list[float], size: int) -> bool:
    return len(durations) >= size


async def _send(address: str, kind: str) -> None:
    data = flood(FLOODS[kind], NUM_STREAMS)
    async with http2(address) as connection:
        await connection.acknowledge_settings()
        reading = asyncio.ensure_future(connection.read_to_end())
        await connection.send(data)
        reading.cancel()


if __name__ == "__main__":
    asyncio.run(_send(*sys.argv[1:]))
