"""Measures a server with a decomposed export against an older version that runs one sequence a run.

    python benchmarks/optimum_llama.py FOLDER                   in an environment with Optimum
    python -m benchmarks.decomposed FOLDER --baseline ONWARD    ONWARD: the command of the older version

Both servers run at the same time and are measured in turn, so that a slow moment of the machine affects both. Calls are
unary and greedy, with different prompts, and ignore end tokens. The log probabilities of calls that are made alone are
compared with those of the same calls made together, and the tokens with those of the older version.

Tokens per second of processor time do not depend on what else the machine does. If a server has a single thread, they
equal tokens per second on an idle machine.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from benchmarks.load import requests
from benchmarks.report import write_result
from benchmarks.server_process import ServerProcess, server_process
from onward.v1 import completion_pb2, completion_service_pb2_grpc, sampling_pb2
from testing.tiny_model import write_tiny_tokenizer

if TYPE_CHECKING:  # in the stubs only
    from onward.v1.completion_service_pb2_grpc import CompletionServiceAsyncStub

TOKENS, TOKENS_CPU = "tokens_per_s", "tokens_per_processor_s"
OURS, THEIRS = "onward", "baseline"
_FLAGS = ("--listen", "127.0.0.1:0", "--slots", "8", "--context-length", "1024")
_CACHE = "--cache-dir"

Speeds = dict[str, float]
Tokens = list[tuple[int, float]]
"""Ids and log probabilities."""


@dataclass(slots=True)
class Measured:
    """A running server and what was measured of it."""

    server: ServerProcess
    stub: "CompletionServiceAsyncStub"
    speeds: dict[int, list[Speeds]] = field(default_factory=dict[int, list[Speeds]])
    """By number of calls at once, one value a run."""

    async def complete(self, jobs: Sequence[completion_pb2.CompleteRequest]) -> list[Tokens]:
        """Makes all calls at once."""
        responses = await asyncio.gather(*(self.stub.Complete(job) for job in jobs))
        return [
            [(each.chosen.token_id, each.chosen.logprob) for each in response.choices[0].logprobs]
            for response in responses
        ]

    async def measure(self, jobs: Sequence[completion_pb2.CompleteRequest], calls: int) -> Speeds:
        """Makes all calls, `calls` of them at once."""
        started_s, started_cpu_s = time.perf_counter(), self.server.cpu_s()
        num_tokens = 0
        for first in range(0, len(jobs), calls):
            num_tokens += sum(map(len, await self.complete(jobs[first : first + calls])))
        ended_s, ended_cpu_s = time.perf_counter(), self.server.cpu_s()
        return {TOKENS: num_tokens / (ended_s - started_s), TOKENS_CPU: num_tokens / (ended_cpu_s - started_cpu_s)}


async def start_s(*command: str) -> float:
    """Seconds until a server accepts calls."""
    started_s = time.perf_counter()
    async with server_process(*command):
        return time.perf_counter() - started_s


async def starts(command: Sequence[str], runs: int) -> dict[str, list[float]]:
    """Seconds of first starts, which rewrite the graph, and of second ones."""
    measured: dict[str, list[float]] = {"first": [], "second": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in measured.values():
                seconds.append(await start_s(*command, _CACHE, cache))
    return measured


@asynccontextmanager
async def measured(*command: str) -> AsyncGenerator[Measured]:
    """A server, with a channel to it."""
    async with server_process(*command) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield Measured(server, completion_service_pb2_grpc.CompletionServiceStub(channel))


async def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    jobs = requests(max(arguments.calls), prompt=arguments.prompt, output=arguments.output)
    for job in jobs:
        job.logprobs.CopyFrom(sampling_pb2.LogprobOptions())
    threads = ("--threads", str(arguments.threads), "--no-spinning") if arguments.threads else ()
    words = ("serve", "--model", str(arguments.folder), *_FLAGS, *threads)
    ours, theirs = (str(Path(sys.executable).with_name("onward")), *words), (str(arguments.baseline), *words)
    seconds = await starts(ours, arguments.starts)
    seconds[THEIRS] = [await start_s(*theirs) for _ in range(arguments.starts)]
    async with AsyncExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        await start_s(*ours, _CACHE, cache)  # so that the server that is measured finds its graph in the cache
        servers = {
            OURS: await stack.enter_async_context(measured(*ours, _CACHE, cache)),
            THEIRS: await stack.enter_async_context(measured(*theirs)),
        }
        alone = {name: [(await server.complete([job]))[0] for job in jobs] for name, server in servers.items()}
        together = {name: await server.complete(jobs) for name, server in servers.items()}
        for run in range(arguments.runs + 1):
            for calls in arguments.calls:
                for server in servers.values():
                    speeds = await server.measure(jobs, calls)
                    if run:
                        server.speeds.setdefault(calls, []).append(speeds)
        memory = {name: server.server.peak_memory_bytes() for name, server in servers.items()}
    ids = {name: [[token for token, _ in tokens] for tokens in found] for name, found in alone.items()}
    return {
        "tokens_of_baseline": sum(mine == other for mine, other in zip(ids[OURS], ids[THEIRS], strict=True)),
        "bits_alone_and_together": sum(mine == other for mine, other in zip(alone[OURS], together[OURS], strict=True)),
        "prompts": len(jobs),
        "start_s": {name: round(statistics.median(values), 2) for name, values in seconds.items()},
        "peak_memory_mib": {name: round(value / 2**20) for name, value in memory.items()},
        "peak_memory_ratio": round(memory[OURS] / memory[THEIRS], 3),
        "rows": [_row(calls, servers) for calls in arguments.calls],
    }


def _row(calls: int, servers: dict[str, Measured]) -> dict[str, object]:
    row: dict[str, object] = {"calls_at_once": calls}
    for key in (TOKENS, TOKENS_CPU):
        values = {name: [speeds[key] for speeds in server.speeds[calls]] for name, server in servers.items()}
        for name, found in values.items():
            row[f"{name}_{key}"] = round(statistics.median(found), 1)
            row[f"{name}_{key}_range"] = [round(min(found), 1), round(max(found), 1)]
        ratios = [mine / other for mine, other in zip(values[OURS], values[THEIRS], strict=True)]
        row[f"ratio_{key}"] = round(statistics.median(ratios), 2)
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--baseline", type=Path, required=True, metavar="ONWARD")
    parser.add_argument("--threads", type=int, help="of each server, which do not spin then")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=40)
    return parser.parse_args()


def main() -> None:
    """Measure, and write the result."""
    arguments = _arguments()
    folder: Path = arguments.folder
    if not (folder / "tokenizer.json").is_file():
        write_tiny_tokenizer(folder)
    found = asyncio.run(measure(arguments))
    lengths = {"prompt": arguments.prompt, "output": arguments.output}
    result = {"model": folder.name, **lengths, "runs": arguments.runs, "server_flags": _FLAGS, **found}
    write_result("decomposed", sys.argv[1:], result)


if __name__ == "__main__":
    main()
