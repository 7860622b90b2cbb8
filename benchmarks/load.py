"""Measures a server under load: concurrent calls against the same calls in sequence.

    python -m benchmarks.load FOLDER

Calls are unary and greedy, with different prompts. They ignore end tokens, so that all generate equally many tokens.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import grpc.aio
import numpy as np

from benchmarks.report import write_result
from benchmarks.server_process import server_process
from onward.v1 import completion_pb2, completion_service_pb2_grpc, sampling_pb2

_SERVER_FLAGS = ("--context-length", "1024")


def requests(calls: int, *, prompt: int, output: int) -> list[completion_pb2.CompleteRequest]:
    """Requests with different random prompts."""
    prompts: list[list[int]] = np.random.default_rng(0).integers(3, 500, (calls, prompt)).tolist()
    sampling = sampling_pb2.SamplingParams(temperature=0.0, max_tokens=output, ignore_eos=True)
    return [
        completion_pb2.CompleteRequest(
            raw_prompt=completion_pb2.RawPrompt(token_ids=completion_pb2.TokenIds(ids=token_ids)), sampling=sampling
        )
        for token_ids in prompts
    ]


async def measure(arguments: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds for all calls in sequence and for all at once, by run, after one warm-up run."""
    jobs = requests(arguments.calls, prompt=arguments.prompt, output=arguments.output)
    words = ("onward_server", "serve", "--model", str(arguments.folder), "--listen", "127.0.0.1:0", *_SERVER_FLAGS)
    async with (
        server_process(sys.executable, "-m", *words) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = completion_service_pb2_grpc.CompletionServiceStub(channel)

        async def call(job: completion_pb2.CompleteRequest) -> None:
            completion = await stub.Complete(job)
            if completion.usage.completion_tokens != arguments.output:
                raise AssertionError(completion.usage)

        runs: list[tuple[float, float]] = []
        for _ in range(arguments.runs + 1):
            started_s = time.perf_counter()
            for job in jobs:
                await call(job)
            in_a_row_s = time.perf_counter()
            await asyncio.gather(*map(call, jobs))
            runs.append((in_a_row_s - started_s, time.perf_counter() - in_a_row_s))
    return runs[1:]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=64)
    return parser.parse_args()


def main() -> None:
    """Measure, and write the result."""
    arguments = _arguments()
    runs = asyncio.run(measure(arguments))
    in_a_row, at_once = ([round(run[side], 2) for run in runs] for side in (0, 1))
    shares = [together / alone for alone, together in runs]
    tokens = arguments.calls * arguments.output
    row = {
        "calls": arguments.calls,
        "in_a_row_s": statistics.median(in_a_row),
        "in_a_row_s_range": [min(in_a_row), max(in_a_row)],
        "at_once_s": statistics.median(at_once),
        "at_once_s_range": [min(at_once), max(at_once)],
        "at_once_share": round(statistics.median(shares), 3),
        "at_once_tokens_per_s": round(tokens / statistics.median(at_once), 1),
    }
    lengths = {"prompt": arguments.prompt, "output": arguments.output}
    result = {"model": arguments.folder.name, **lengths, "runs": arguments.runs, "server_flags": _SERVER_FLAGS}
    write_result(f"load-{arguments.folder.name}", sys.argv[1:], {**result, "rows": [row]})


if __name__ == "__main__":
    main()
