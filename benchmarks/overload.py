"""Sends more requests than a server can take, and measures completions, rejections and health checks.

    python -m benchmarks.overload [FOLDER]

Without FOLDER, the server's model sleeps instead of computing, because client and server share the processors: a model
that computes would get slower with the number of rejected calls. First, enough calls run at once to fill the slots and
half of the queue, which gives the peak rate. Then calls arrive at random moments at 1.5, 4 and 10 times that rate. Each
rejected call gets a retry delay. The table has the share of delays that are within a factor of two of the time until
all calls that waited at the rejection had started. The script exits with 1 if a limit is exceeded.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from benchmarks.report import write_result
from benchmarks.server_process import server_process
from benchmarks.stub_server import PACED_QUEUE, PACED_SLOTS
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, TokenIds
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.sampling_pb2 import SamplingParams

if TYPE_CHECKING:
    from onward.v1.completion_service_pb2_grpc import CompletionServiceAsyncStub

_LOADS = (1.5, 4.0, 10.0)
_HEALTH_INTERVAL_S = 0.05
_MIN_SHARE_OF_PEAK = 0.95
_MAX_REJECTION_P99_MS = 50


@dataclass(slots=True)
class Trial:
    """What the calls of one load have met so far. Times are of `time.perf_counter`."""

    completed_s: list[float] = field(default_factory=list[float])
    """When each completion ended."""
    started: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """For each completion, when it was sent and when it got its slot."""
    rejected: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """For each rejection, when it was sent and the delay that it was told."""
    rejected_ms: list[float] = field(default_factory=list[float])
    health_ms: list[float] = field(default_factory=list[float])


class Client:
    """Makes the calls to one server."""

    def __init__(self, channel: grpc.aio.Channel, *, max_tokens: int) -> None:
        self._stub: CompletionServiceAsyncStub = CompletionServiceStub(channel)
        self._check: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        self._request = CompleteRequest(
            raw_prompt=RawPrompt(token_ids=TokenIds(ids=range(3, 60))),
            sampling=SamplingParams(max_tokens=max_tokens, ignore_eos=True, temperature=1),
        )

    async def complete(self, trial: Trial) -> None:
        """Makes one call."""
        sent_s = time.perf_counter()
        try:
            response = await self._stub.Complete(self._request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            trial.rejected_ms.append((time.perf_counter() - sent_s) * 1000)
            pushback_ms = dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"]
            trial.rejected.append((sent_s, int(pushback_ms) / 1000))
            return
        trial.completed_s.append(time.perf_counter())
        trial.started.append((sent_s, sent_s + response.timings.queue.ToMilliseconds() / 1000))

    async def at_once(self, num_calls: int, seconds: float) -> Trial:
        """Keeps this many calls running."""
        trial, end_s = Trial(), time.perf_counter() + seconds

        async def repeat() -> None:
            while time.perf_counter() < end_s:
                await self.complete(trial)

        await asyncio.gather(*(repeat() for _ in range(num_calls)))
        return trial

    async def at_rate(self, calls_per_s: float, seconds: float) -> Trial:
        """Makes calls at random moments, and health checks at regular ones."""
        trial, moments = Trial(), random.Random(1)
        calls: list[asyncio.Task[None]] = []
        async with self._health_checks(trial):
            next_s = start_s = time.perf_counter()
            while next_s < start_s + seconds:
                await asyncio.sleep(next_s - time.perf_counter())
                calls.append(asyncio.create_task(self.complete(trial)))
                next_s += moments.expovariate(calls_per_s)
            await asyncio.gather(*calls)
        return trial

    @asynccontextmanager
    async def _health_checks(self, trial: Trial) -> AsyncGenerator[None]:
        async def repeat() -> None:
            while True:
                started_s = time.perf_counter()
                await self._check(HealthCheckRequest())
                trial.health_ms.append((time.perf_counter() - started_s) * 1000)
                await asyncio.sleep(_HEALTH_INTERVAL_S)

        task = asyncio.create_task(repeat())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(folder: Path | None, *, seconds: float, max_tokens: int) -> list[dict[str, object]]:
    """A row for each load."""
    words = ["benchmarks.stub_server", "paced"]
    if folder is not None:
        size = ("--slots", str(PACED_SLOTS), "--max-queue", str(PACED_QUEUE), "--context-length", "1024")
        words = ["onward_server", "serve", "--listen", "127.0.0.1:0", "--model", str(folder), *size]
    async with (
        server_process(sys.executable, "-m", *words) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        client = Client(channel, max_tokens=max_tokens)
        await client.at_once(PACED_SLOTS, 1.0)  # warm-up
        peak_per_s = _rate_per_s(await client.at_once(PACED_SLOTS + PACED_QUEUE // 2, seconds), seconds)
        rows: list[dict[str, object]] = []
        for load in _LOADS:
            trial = await client.at_rate(load * peak_per_s, seconds)
            rows.append(_row(load, trial, seconds, peak_per_s))
        return rows


def missed_bars(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    """Yields a sentence for each limit that is exceeded."""
    for row in rows:
        where = f"at {row['load']} times the capacity,"
        share, p99_ms, within = (
            float(str(row[name])) for name in ("share_of_peak", "rejected_p99_ms", "told_within_2")
        )
        if share < _MIN_SHARE_OF_PEAK:
            yield f"{where} only {share:.1%} of the peak were completed"
        if p99_ms > _MAX_REJECTION_P99_MS:
            yield f"{where} rejections took {p99_ms} ms; {_MAX_REJECTION_P99_MS} are allowed"
        if within < 1:
            yield f"{where} only {within:.1%} of the retry delays were within a factor of two"


def _row(load: float, trial: Trial, seconds: float, peak_per_s: float) -> dict[str, object]:
    rate_per_s = _rate_per_s(trial, seconds)
    ratios = sorted(_told_over_real(trial))
    return {
        "load": load,
        "completed_per_s": round(rate_per_s, 2),
        "share_of_peak": round(rate_per_s / peak_per_s, 3),
        "rejected": len(trial.rejected),
        "rejected_p50_ms": round(statistics.median(trial.rejected_ms), 2),
        "rejected_p99_ms": round(statistics.quantiles(trial.rejected_ms, n=100)[98], 2),
        "told_over_real": round(statistics.median(ratios), 2),
        "told_over_real_range": (round(ratios[0], 2), round(ratios[-1], 2)),
        "told_within_2": round(sum(0.5 <= ratio <= 2 for ratio in ratios) / len(ratios), 3),
        "health_p99_ms": round(statistics.quantiles(trial.health_ms, n=100)[98], 2),
    }


def _rate_per_s(trial: Trial, seconds: float) -> float:
    """Completions per second from the first to the last within the given time of the first."""
    first_s = min(trial.completed_s)
    within = [at_s for at_s in trial.completed_s if first_s < at_s <= first_s + seconds]
    return len(within) / (max(within) - first_s)


def _told_over_real(trial: Trial) -> Iterator[float]:
    """For each rejection, the delay that it was told over the time until all calls sent before it had started."""
    for sent_s, told_s in trial.rejected:
        started_s = max((start_s for other_s, start_s in trial.started if other_s < sent_s), default=sent_s)
        if started_s > sent_s:
            yield told_s / (started_s - sent_s)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="model folder; default: a model that sleeps")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each load")
    parser.add_argument("--output", type=int, default=16, help="tokens of each completion")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.folder, seconds=arguments.seconds, max_tokens=arguments.output))
    write_result("overload", sys.argv[1:], {"slots": PACED_SLOTS, "queue": PACED_QUEUE, "rows": rows})
    if missed := list(missed_bars(rows)):
        sys.exit("\n".join(f"missed: {bar}" for bar in missed))


if __name__ == "__main__":
    main()
