"""Features of `AsyncClient` alone: cancellation by its task, and concurrent calls."""

import asyncio

import grpc
import pytest

from fake_server import LATER, WAIT_S, FakeServer, Hang, failure
from onward_client import AsyncClient, AsyncCompletionStream, OnwardError, RequestError
from responses import events, text_response


async def test_cancelling_the_task_cancels_the_call(server: FakeServer) -> None:
    server.script.append(Hang())
    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(client.complete("Hi"))
        assert await asyncio.to_thread(server.called.wait, WAIT_S)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(server.seen[0].ended.wait, WAIT_S)


async def test_cancelling_the_task_of_a_stream_cancels_the_call(server: FakeServer) -> None:
    server.script.append([*events(text_response("Hello."))[:2], Hang()])
    has_read = asyncio.Event()

    async def read(stream: AsyncCompletionStream) -> None:
        async for _ in stream.text:
            has_read.set()

    async with AsyncClient(server.target) as client, client.stream("Hi") as stream:
        task = asyncio.create_task(read(stream))
        await has_read.wait()

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.seen[0].ended.wait, WAIT_S)


async def test_closing_the_client_ends_a_wait_between_attempts(server: FakeServer) -> None:
    server.script.append(failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", trailers=LATER))

    async with AsyncClient(server.target) as client:
        task = asyncio.create_task(client.complete("Hi", timeout=100))
        assert await asyncio.to_thread(server.called.wait, WAIT_S)
        assert await asyncio.to_thread(server.seen[0].ended.wait, WAIT_S)
        await client.close()

        with pytest.raises(OnwardError, match="closed"):
            await task


async def test_a_client_belongs_to_the_event_loop_that_used_it_first(server: FakeServer) -> None:
    server.script.append(text_response())
    async with AsyncClient(server.target) as client:
        await client.complete("Hi")

        def in_another_loop() -> None:
            asyncio.run(client.models())

        with pytest.raises(RequestError, match="used in another event loop; create an AsyncClient in each event loop"):
            await asyncio.to_thread(in_another_loop)


async def test_calls_run_concurrently(server: FakeServer) -> None:
    server.script.extend(text_response(str(number)) for number in range(20))
    async with AsyncClient(server.target) as client:
        completions = await asyncio.gather(*(client.complete("Hi") for _ in range(20)))

    assert {completion.text for completion in completions} == {str(number) for number in range(20)}
