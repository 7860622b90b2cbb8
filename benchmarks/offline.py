"""Measures the engine, without a server, against onnxruntime-genai on the same model file.

    python -m benchmarks.offline FOLDER --genai PYTHON    PYTHON: an interpreter that has onnxruntime-genai

Prefill and decode are timed separately. genai is measured twice: with as many threads as the engine, and with its
default, which is half of that. With `--beside FOLDER`, the engine runs another export, too. Each run measures every
batch size with every engine in turn, so that a slow moment of the machine affects all of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.report import write_result
from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest
from onward_server.model.loader import load_model
from onward_server.model.onnx_session import SessionOptions, usable_processors
from onward_server.model.source.folder import ModelFolder
from onward_server.sampling import SamplingParams

Speeds = dict[str, float]
Measure = Callable[[int], Speeds]

OURS = "onward"
PREFILL, DECODE = "prefill_tokens_per_s", "decode_tokens_per_s"

_NO_LIMIT = 1 << 20
_CONTEXT_LENGTH = 1024


def engine_speeds(engine: Engine, batch: int, *, prompt: int, output: int) -> Speeds:
    """Tokens per second in prefill and in decode. Prefill includes the first output token."""
    prompts = np.random.default_rng(0).integers(3, 500, (batch, prompt)).tolist()
    for number, token_ids in enumerate(prompts):
        sampling = SamplingParams(temperature=0.0, max_tokens=output, ignore_eos=True, seed=0)
        engine.add(GenerationRequest(id=str(number), prompt_ids=token_ids, sampling=sampling, seeds=(0,)))
    started_s = time.perf_counter()
    engine.step(_NO_LIMIT)
    prefilled_s = time.perf_counter()
    while engine.has_work:
        engine.step(_NO_LIMIT)
    ended_s = time.perf_counter()
    return {
        PREFILL: batch * prompt / (prefilled_s - started_s),
        DECODE: batch * (output - 1) / (ended_s - prefilled_s),
    }


@contextmanager
def genai_worker(python: Path, folder: Path, *threads: str) -> Generator[tuple[dict[str, str], Callable[..., Speeds]]]:
    """Starts a process that measures genai. Yields its versions, and a function that sends it a job."""
    words = [python, Path(__file__).with_name("genai_worker.py"), folder, *threads]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        if worker.stdin is None or worker.stdout is None:
            raise AssertionError
        try:
            yield json.loads(worker.stdout.readline()), partial(_ask, worker.stdin, worker.stdout)
        finally:
            worker.stdin.close()


def _ask(jobs: IO[str], results: IO[str], batch: int, *, prompt: int, output: int) -> Speeds:
    jobs.write(json.dumps({"batch": batch, "prompt": prompt, "output": output}) + "\n")
    jobs.flush()
    return json.loads(results.readline())


def interleaved(measures: dict[str, Measure], batches: list[int], runs: int) -> dict[str, list[list[Speeds]]]:
    """Speeds by name, batch size and run, after one warm-up run."""
    speeds: dict[str, list[list[Speeds]]] = {name: [[] for _ in batches] for name in measures}
    for run in range(runs + 1):
        for column, batch in enumerate(batches):
            for name, measure in measures.items():
                measured = measure(batch)
                if run:
                    speeds[name][column].append(measured)
        print(f"run {run} of {runs}" if run else "warm", file=sys.stderr)
    return speeds


def rows(speeds: dict[str, list[list[Speeds]]], batches: list[int]) -> Iterator[dict[str, object]]:
    """A row per batch size and engine: medians, ranges, and the median over runs of our speed divided by theirs."""
    for column, batch in enumerate(batches):
        for name, by_batch in speeds.items():
            row: dict[str, object] = {"batch": batch, "engine": name}
            for key in (PREFILL, DECODE):
                values = [run[key] for run in by_batch[column]]
                ours = [run[key] for run in speeds[OURS][column]]
                ratios = [mine / theirs for mine, theirs in zip(ours, values, strict=True)]
                row[key] = round(statistics.median(values), 1)
                row[f"{key}_range"] = [round(min(values), 1), round(max(values), 1)]
                row[f"onward_{key.partition('_')[0]}_ratio"] = round(statistics.median(ratios), 2)
            yield row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another export, which the engine runs in turn")
    parser.add_argument("--genai", type=Path, metavar="PYTHON")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=48)
    return parser.parse_args()


def _engine(folder: Path, arguments: argparse.Namespace) -> Engine:
    loaded = load_model(
        ModelFolder.read(folder),
        SessionOptions(num_threads=usable_processors()),
        num_slots=max(arguments.batches),
        max_context_length=_CONTEXT_LENGTH,
        prefill_chunk=arguments.prompt,
    )
    return Engine(loaded.causal_lm)


def main() -> None:
    """Measure, and write the result."""
    arguments = _arguments()
    folder: Path = arguments.folder
    lengths = {"prompt": arguments.prompt, "output": arguments.output}
    num_threads = usable_processors()
    measures: dict[str, Measure] = {OURS: partial(engine_speeds, _engine(folder, arguments), **lengths)}
    if arguments.beside:
        measures[f"onward, {arguments.beside.name}"] = partial(
            engine_speeds, _engine(arguments.beside, arguments), **lengths
        )
    genai_versions: dict[str, str] | None = None
    with ExitStack() as stack:
        if arguments.genai:
            for name, threads in (("genai", [str(num_threads)]), ("genai as it comes", [])):
                genai_versions, ask = stack.enter_context(genai_worker(arguments.genai, folder, *threads))
                measures[name] = partial(ask, **lengths)
        speeds = interleaved(measures, arguments.batches, arguments.runs)
    result = {"model": folder.name, **lengths, "runs": arguments.runs, "threads": num_threads, "genai": genai_versions}
    write_result(f"offline-{folder.name}", sys.argv[1:], {**result, "rows": list(rows(speeds, arguments.batches))})


if __name__ == "__main__":
    main()
