"""Measures the cost of a call apart from the model, against empty grpc.aio handlers in the same run.

    python -m benchmarks.transport

The servers of stub_server.py run in processes of their own. This process calls them in turn and leaves messages as
bytes. Unary calls run in sequence, 32 streams in parallel.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc.aio

from benchmarks.report import write_result
from benchmarks.server_process import ServerProcess, server_process
from benchmarks.stub_server import KINDS, MESSAGES, SERVICE, STREAMS
from onward.v1 import completion_pb2, sampling_pb2


class Caller:
    """Makes calls to one server."""

    def __init__(self, server: ServerProcess, channel: grpc.aio.Channel) -> None:
        """Takes an open channel, which it does not close."""
        self._server = server
        self._unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Complete")
        self._stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/{SERVICE}/StreamComplete"
        )

    async def unary_ms(self, num_calls: int) -> list[float]:
        """Times of consecutive calls, in milliseconds."""
        request = _request(max_tokens=1).SerializeToString()
        times_ms: list[float] = []
        for _ in range(num_calls):
            started_s = time.perf_counter()
            await self._unary(request)
            times_ms.append((time.perf_counter() - started_s) * 1000)
        return times_ms

    async def stream_rates(self) -> dict[str, float]:
        """Messages per second over all streams, and the server's processor time per message."""
        request = completion_pb2.StreamCompleteRequest(request=_request(max_tokens=MESSAGES)).SerializeToString()
        cpu_s, started_s = self._server.cpu_s(), time.perf_counter()
        counts = await asyncio.gather(*(self._count(request) for _ in range(STREAMS)))
        duration_s = time.perf_counter() - started_s
        return {
            "messages_per_s": sum(counts) / duration_s,
            "server_cpu_us_per_message": (self._server.cpu_s() - cpu_s) / sum(counts) * 1e6,
        }

    async def _count(self, request: bytes) -> int:
        count = 0
        async for _ in self._stream(request):
            count += 1
        return count


def _request(*, max_tokens: int) -> completion_pb2.CompleteRequest:
    return completion_pb2.CompleteRequest(
        raw_prompt=completion_pb2.RawPrompt(token_ids=completion_pb2.TokenIds(ids=range(3, 67))),
        sampling=sampling_pb2.SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True),
    )


async def measure(runs: int, calls: int) -> list[dict[str, object]]:
    """A row per kind of server, after one warm-up run."""
    times_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rates: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    async with AsyncExitStack() as stack:
        callers: dict[str, Caller] = {}
        for kind in KINDS:
            server = await stack.enter_async_context(
                server_process(sys.executable, "-m", "benchmarks.stub_server", kind)
            )
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            callers[kind] = Caller(server, channel)
        for run in range(runs + 1):
            for kind, caller in callers.items():
                called_ms, streamed = await caller.unary_ms(calls), await caller.stream_rates()
                if run:
                    times_ms[kind] += called_ms
                    rates[kind].append(streamed)
    return [_row(kind, times_ms, rates) for kind in KINDS]


def _row(kind: str, times_ms: dict[str, list[float]], rates: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    p50_ms, empty_p50_ms = statistics.median(times_ms[kind]), statistics.median(times_ms["empty"])
    messages_per_s, cpu_us = (
        [run[key] for run in rates[kind]] for key in ("messages_per_s", "server_cpu_us_per_message")
    )
    empty_messages_per_s = [run["messages_per_s"] for run in rates["empty"]]
    shares = [rate / empty for rate, empty in zip(messages_per_s, empty_messages_per_s, strict=True)]
    return {
        "server": kind,
        "unary_p50_ms": round(p50_ms, 3),
        "unary_p95_ms": round(_percentile(times_ms[kind], 95), 3),
        "unary_p50_over_empty_ms": round(p50_ms - empty_p50_ms, 3),
        "messages_per_s": round(statistics.median(messages_per_s)),
        "messages_per_s_range": [round(min(messages_per_s)), round(max(messages_per_s))],
        "messages_share_of_empty": round(statistics.median(shares), 2),
        "messages_share_of_empty_range": [round(min(shares), 2), round(max(shares), 2)],
        "server_cpu_us_per_message": round(statistics.median(cpu_us), 1),
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="measured runs (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=400, help="unary calls per run (default: %(default)s)")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.runs, arguments.calls))
    sizes = {
        "runs": arguments.runs,
        "calls": arguments.calls,
        "streams": STREAMS,
        "deltas": MESSAGES,
    }
    write_result("transport", sys.argv[1:], {**sizes, "rows": rows})


if __name__ == "__main__":
    main()
