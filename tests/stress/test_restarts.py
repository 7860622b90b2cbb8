import asyncio
import socket
from contextlib import AsyncExitStack

from onward_client import AsyncClient
from tests.stress.serve_process import serve_process

NUM_RESTARTS = 20
NUM_CALLERS = 8


async def test_no_call_fails_in_twenty_rolling_restarts() -> None:
    """Calls that arrived within 30 ms of SIGTERM ended with CANCELLED, which no client repeats."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    num_done = 0
    has_done = asyncio.Event()
    is_over = False
    async with AsyncClient("ipv4:" + ",".join(addresses), timeout=60) as client, AsyncExitStack() as last:
        lives = [await last.enter_async_context(AsyncExitStack()) for _ in addresses]
        for life, address in zip(lives, addresses, strict=True):
            await life.enter_async_context(serve_process(address))

        async def keep_calling() -> None:
            nonlocal num_done
            while not is_over:
                await client.complete("Hi", max_tokens=4)
                num_done += 1
                has_done.set()

        async with asyncio.TaskGroup() as callers:
            tasks = [callers.create_task(keep_calling()) for _ in range(NUM_CALLERS)]
            for number in range(NUM_RESTARTS):
                has_done.clear()
                await lives[number % 2].aclose()
                await lives[number % 2].enter_async_context(serve_process(addresses[number % 2]))
                await has_done.wait()
            is_over = True

    assert all(task.done() for task in tasks)
    assert num_done > NUM_RESTARTS * NUM_CALLERS


def free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in opened]
    for sock in opened:
        sock.close()
    return ports
