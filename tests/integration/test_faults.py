"""Faults that failpoints inject into the process of a server: calls are told, health is right, the process ends."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from onward.v1.completion_pb2 import CompleteResponse, StreamCompleteRequest, StreamCompleteResponse
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from tests.malformed_calls import raw_request
from tests.serving import details
from tests.waiting import WAIT_S

HANG_LIMIT_S = 0.5
TOLD_S = 1.0
"""Longest time from a fault until its calls and the watchers of health are told."""
EXIT_S = 10.0
"""Longest time from then until the process has ended."""
DURATION_S = 2.0
"""More than the calls would take without a fault."""
FATAL = ("run=hang", "run=panic", "sampler=error")
CRASH, DELIVERY = "run=crash", "delivery=error"
FAILPOINTS = (*FATAL, CRASH, DELIVERY)
NUM_TOKENS = 100

Reply = CompleteResponse | list[StreamCompleteResponse] | grpc.aio.AioRpcError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What clients of a server saw until it ended, or until all calls had ended."""

    replies: list[Reply]
    health: list[int]
    """The statuses of health that a watcher received."""
    seconds: float
    """How long the calls took."""


class Process:
    """A server with a failpoint, in a process of its own."""

    def __init__(self, folder: Path, failpoint: str) -> None:
        words = ("--listen", "127.0.0.1:0", "--hang-limit-s", str(HANG_LIMIT_S), "--failpoint", f"{failpoint}@20")
        command = [sys.executable, "-m", "onward_server", "serve", "--model", str(folder), *words]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._address = ""

    def wait_until_it_listens(self) -> None:
        """Reads the log up to the address."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r" on (\S+); try: ", line):
                self._address = found[1]
                return
        raise AssertionError("the server ended before it listened")

    def call(self) -> Outcome:
        """Runs three calls and a stream at once."""
        return asyncio.run(self._call())

    def exit_code(self) -> int:
        """Waits for the end of the process."""
        return self._process.wait(EXIT_S)

    def stop(self) -> None:
        """Sends SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def log(self) -> str:
        """What the server wrote after its address; call it after the end."""
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def kill(self) -> None:
        """Frees what the process holds."""
        self._process.kill()
        self._process.communicate()

    async def _call(self) -> Outcome:
        async with asyncio.timeout(WAIT_S), grpc.aio.insecure_channel(self._address) as channel:
            health: list[int] = []
            is_watched = asyncio.Event()
            watching = asyncio.create_task(_watch(channel, health, is_watched))
            await is_watched.wait()
            stub = CompletionServiceStub(channel)
            started_s = time.monotonic()

            async def complete(seed: int) -> Reply:
                try:
                    return await stub.Complete(raw_request(seed, max_tokens=NUM_TOKENS))
                except grpc.aio.AioRpcError as error:
                    return error

            async def stream() -> Reply:
                request = StreamCompleteRequest(request=raw_request(9, max_tokens=NUM_TOKENS))
                try:
                    return [event async for event in stub.StreamComplete(request)]
                except grpc.aio.AioRpcError as error:
                    return error

            replies = await asyncio.gather(*map(complete, range(3)), stream())
            seconds = time.monotonic() - started_s
            if all(isinstance(reply, grpc.aio.AioRpcError) for reply in replies):
                await watching  # the end of the server ends it
            watching.cancel()
            return Outcome(replies, health, seconds)


async def _watch(channel: grpc.aio.Channel, health: list[int], is_watched: asyncio.Event) -> None:
    watch: grpc.aio.UnaryStreamMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    try:
        async for response in watch(HealthCheckRequest()):
            health.append(response.status)
            is_watched.set()
    except grpc.aio.AioRpcError:
        return  # the end of the server


@pytest.fixture(scope="module")
def processes(tiny_folder: Path) -> Generator[dict[str, Process]]:
    """A server for each failpoint."""
    started = {failpoint: Process(tiny_folder, failpoint) for failpoint in FAILPOINTS}
    for process in started.values():
        process.wait_until_it_listens()
    yield started
    for process in started.values():
        process.kill()


@pytest.fixture(scope="module")
def outcomes(processes: dict[str, Process]) -> dict[str, Outcome]:
    """The outcome of each failpoint. The servers are called at the same time, as each takes a second to end."""
    with ThreadPoolExecutor(len(processes)) as pool:
        return dict(zip(processes, pool.map(Process.call, processes.values()), strict=True))


@pytest.mark.parametrize("failpoint", FATAL)
def test_a_fatal_fault_ends_every_call_with_a_status_to_retry_and_the_process_with_an_error(
    processes: dict[str, Process], outcomes: dict[str, Outcome], failpoint: str
) -> None:
    outcome = outcomes[failpoint]

    reasons: set[str] = set()
    for reply in outcome.replies:
        assert isinstance(reply, grpc.aio.AioRpcError)
        assert reply.code() is grpc.StatusCode.UNAVAILABLE
        info, retry = details(reply)["ErrorInfo"], details(reply)["RetryInfo"]
        assert isinstance(info, ErrorInfo)
        assert isinstance(retry, RetryInfo)
        reasons.add(info.reason)
    assert "ENGINE_FAILURE" in reasons
    assert reasons <= {"ENGINE_FAILURE", "SERVER_DRAINING"}  # the latter for a call that arrived after the fault
    assert outcome.seconds < DURATION_S + HANG_LIMIT_S + TOLD_S
    assert outcome.health == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
    assert processes[failpoint].exit_code() == 1
    assert ("the engine hangs" if "hang" in failpoint else "the engine failed") in processes[failpoint].log()


def test_a_crash_ends_every_call_with_a_status_to_retry_and_the_process_with_its_signal(
    processes: dict[str, Process], outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[CRASH]

    codes = {reply.code() for reply in outcome.replies if isinstance(reply, grpc.aio.AioRpcError)}
    assert len(outcome.replies) == 4
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert outcome.seconds < DURATION_S + TOLD_S
    assert outcome.health == [HealthCheckResponse.SERVING]
    assert processes[CRASH].exit_code() == -signal.SIGSEGV


def num_tokens(reply: Reply) -> int:
    """Number of tokens in a completion; its log probabilities list each."""
    assert not isinstance(reply, grpc.aio.AioRpcError)
    if isinstance(reply, CompleteResponse):
        return len(reply.choices[0].logprobs)
    return sum(len(event.delta.logprobs) for event in reply)


def test_an_event_that_is_not_delivered_ends_its_call_and_the_server_continues(
    processes: dict[str, Process], outcomes: dict[str, Outcome]
) -> None:
    """The call ended with OK, and a token was missing in its output."""
    outcome = outcomes[DELIVERY]

    failed = [reply for reply in outcome.replies if isinstance(reply, grpc.aio.AioRpcError)]
    assert [reply.code() for reply in failed] == [grpc.StatusCode.UNAVAILABLE]
    assert outcome.health == [HealthCheckResponse.SERVING]
    assert {num_tokens(reply) for reply in outcome.replies if reply not in failed} == {NUM_TOKENS}
    processes[DELIVERY].stop()
    assert processes[DELIVERY].exit_code() == 0
