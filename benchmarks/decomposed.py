"""Measures a server with a decomposed export against an older version that runs one sequence a run.

    python benchmarks/optimum_llama.py FOLDER                   in an environment with Optimum
    python -m benchmarks.decomposed FOLDER --baseline ONWARD    ONWARD: the command of the older version

Both servers run at the same time and are measured in turn, so that a slow moment of the machine affects both. Calls are
unary and greedy, with different prompts, and ignore end tokens. The log probabilities of all tokens are compared: alone
with in company, and the tokens with those of the older version.
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

OURS, THEIRS = "onward", "baseline"
_FLAGS = ("--listen", "127.0.0.1:0", "--slots", "8", "--context-length", "1024")
_CACHE = "--cache-dir"

Tokens = list[tuple[int, float]]
"""Ids and log probabilities."""


@dataclass(slots=True)
class Measured:
    """A running server and what was measured of it."""

    server: ServerProcess
    stub: "CompletionServiceAsyncStub"
    tokens_per_s: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """By number of calls at once, one value a run."""

    async def complete(self, jobs: Sequence[completion_pb2.CompleteRequest]) -> list[Tokens]:
        """Makes all calls at once."""
        responses = await asyncio.gather(*(self.stub.Complete(job) for job in jobs))
        return [
            [(each.chosen.token_id, each.chosen.logprob) for each in response.choices[0].logprobs]
            for response in responses
        ]

    async def measure(self, jobs: Sequence[completion_pb2.CompleteRequest], calls: int) -> float:
        """Tokens per second for all jobs, with so many calls at once."""
        started_s = time.perf_counter()
        num_tokens = 0
        for first in range(0, len(jobs), calls):
            num_tokens += sum(map(len, await self.complete(jobs[first : first + calls])))
        return num_tokens / (time.perf_counter() - started_s)


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
    words = ("serve", "--model", str(arguments.folder), *_FLAGS)
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
                    speed = await server.measure(jobs, calls)
                    if run:
                        server.tokens_per_s.setdefault(calls, []).append(speed)
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
    for name, server in servers.items():
        speeds = server.tokens_per_s[calls]
        row[f"{name}_tokens_per_s"] = round(statistics.median(speeds), 1)
        row[f"{name}_tokens_per_s_range"] = [round(min(speeds), 1), round(max(speeds), 1)]
    pairs = zip(servers[OURS].tokens_per_s[calls], servers[THEIRS].tokens_per_s[calls], strict=True)
    row["ratio"] = round(statistics.median(mine / other for mine, other in pairs), 2)
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--baseline", type=Path, required=True, metavar="ONWARD")
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
