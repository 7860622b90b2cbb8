"""Fills a server's queue, and measures how quickly it rejects further requests and answers health checks.

    python -m benchmarks.overload

Long completions of the embedded model fill four slots and a queue of eight. Then rejected requests and health checks
alternate.
"""

import argparse
import asyncio
import statistics
import sys
import time

import grpc
import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from benchmarks.report import write_result
from benchmarks.server_process import server_process
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, TokenIds
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.sampling_pb2 import SamplingParams

_SLOTS, _QUEUE = 4, 8
_WORDS = ("onward_server", "serve", "--listen", "127.0.0.1:0", "--slots", str(_SLOTS), "--max-queue", str(_QUEUE))
_LONG = CompleteRequest(
    raw_prompt=RawPrompt(token_ids=TokenIds(ids=range(3, 60))),
    sampling=SamplingParams(max_tokens=900, ignore_eos=True, temperature=1),
)


async def measure(calls: int) -> dict[str, object]:
    """Response times of rejected requests and of health checks, in milliseconds."""
    rejected_ms: list[float] = []
    health_ms: list[float] = []
    async with server_process(*_WORDS) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = CompletionServiceStub(channel)
        check: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        running = [stub.Complete(_LONG) for _ in range(_SLOTS + _QUEUE)]
        await asyncio.sleep(0.3)
        for _ in range(calls):
            started_s = time.perf_counter()
            try:
                await stub.Complete(_LONG)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                rejected_ms.append((time.perf_counter() - started_s) * 1000)
            started_s = time.perf_counter()
            await check(HealthCheckRequest())
            health_ms.append((time.perf_counter() - started_s) * 1000)
        for call in running:
            call.cancel()
    return {"rows": [_row("rejection", rejected_ms), _row("health", health_ms)]}


def _row(name: str, times_ms: list[float]) -> dict[str, object]:
    return {
        "response": name,
        "calls": len(times_ms),
        "p50_ms": round(statistics.median(times_ms), 2),
        "p99_ms": round(statistics.quantiles(times_ms, n=100)[98], 2),
        "max_ms": round(max(times_ms), 2),
    }


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    write_result("overload", sys.argv[1:], asyncio.run(measure(arguments.calls)))


if __name__ == "__main__":
    main()
