"""Decodes with onnxruntime-genai, for comparison in offline.py. It runs in an environment of its own.

    pip install onnxruntime-genai==0.18.0
    python benchmarks/genai_worker.py FOLDER [THREADS]

Without THREADS, genai chooses the number of threads, half the number of processors. Each line of standard input is a
job, `{"batch": 4, "prompt": 64, "output": 48}`, and each line of standard output has the speeds of one.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before ONNX Runtime is loaded

import onnxruntime_genai  # pyright: ignore[reportMissingImports]

genai: Any = onnxruntime_genai


def speeds(
    model: Any,  # noqa: ANN401  the library has no types
    batch: int,
    prompt: int,
    output: int,
) -> dict[str, float]:
    """Tokens per second in prefill and in decode. Prefill includes the first output token."""
    params = genai.GeneratorParams(model)
    length = prompt + output
    params.set_search_options(batch_size=batch, max_length=length, min_length=length, do_sample=False)
    generator = genai.Generator(model, params)
    prompts = np.random.default_rng(0).integers(3, 500, (batch, prompt)).astype(np.int32)
    started_s = time.perf_counter()
    generator.append_tokens(prompts)
    generator.generate_next_token()
    prefilled_s = time.perf_counter()
    for _ in range(output - 1):
        generator.generate_next_token()
    ended_s = time.perf_counter()
    return {
        "prefill_tokens_per_s": batch * prompt / (prefilled_s - started_s),
        "decode_tokens_per_s": batch * (output - 1) / (ended_s - prefilled_s),
    }


def load(folder: str, threads: str | None) -> Any:  # noqa: ANN401
    """Loads a model to run on `threads` threads; None leaves the number to genai."""
    config = genai.Config(folder)
    if threads is not None:
        session_options = {"intra_op_num_threads": int(threads)}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session_options}}}))
    return genai.Model(config)


def main() -> None:
    """Run jobs until the input ends. The first line of output has the versions."""
    folder, *threads = sys.argv[1:]
    model = load(folder, next(iter(threads), None))
    print(json.dumps({name: version(name) for name in ("onnxruntime-genai", "onnxruntime")}), flush=True)
    for line in sys.stdin:
        print(json.dumps(speeds(model, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
