"""Measures the cost of a constraint: eight sequences, decoded alternately without and with one, on the same model.

    python -m benchmarks.constrained FOLDER

All sequences are sampled at temperature 1. The constraint is a JSON Schema that cannot be satisfied within the output's
length, so that both kinds decode the same number of tokens.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.report import write_result
from onward_server.domain import JsonSchemaFormat
from onward_server.engine.engine import Engine
from onward_server.engine.generation import GenerationRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.model.loader import load_model
from onward_server.model.onnx_session import SessionOptions
from onward_server.model.source.folder import ModelFolder
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams

_BATCH = 8
_ALL = 1 << 20
_SCHEMA = {
    "type": "array",
    "minItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "count": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
            "price": {"type": "number"},
            "is_new": {"type": "boolean"},
        },
        "required": ["name", "count", "tags", "price", "is_new"],
        "additionalProperties": False,
    },
}


def decode_speed(engine: Engine, grammar: Grammar | None, *, prompt: int, output: int) -> float:
    """Tokens per second over all sequences, from the second token on."""
    for number in range(_BATCH):
        token_ids = np.random.default_rng(number).integers(100, 500, prompt).tolist()
        sampling = SamplingParams(temperature=1.0, max_tokens=output, ignore_eos=True, seed=number)
        engine.add(
            GenerationRequest(id=str(number), prompt_ids=token_ids, sampling=sampling, seeds=(number,), grammar=grammar)
        )
    engine.step(_ALL)
    started_s = time.perf_counter()
    num_tokens = 0
    while engine.has_work:
        num_tokens += engine.step(_ALL).num_decoded
    return num_tokens / (time.perf_counter() - started_s)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=64)
    arguments = parser.parse_args()
    folder = ModelFolder.read(arguments.folder)
    model = load_model(
        folder, SessionOptions(), num_slots=_BATCH, max_context_length=1024, prefill_chunk=arguments.prompt
    ).causal_lm
    compiler = GrammarCompiler(
        Tokenizer.load(arguments.folder).to_json(),
        vocabulary_size=model.vocabulary_size,
        eos_token_ids=folder.eos_token_ids,
    )
    grammar = compiler.compile(JsonSchemaFormat(schema=json.dumps(_SCHEMA))).result()
    engine = Engine(model)
    lengths = {"prompt": arguments.prompt, "output": arguments.output}
    free: list[float] = []
    bound: list[float] = []
    for run in range(arguments.runs + 1):
        speeds = decode_speed(engine, None, **lengths), decode_speed(engine, grammar, **lengths)
        if run:  # the first run is a warm-up
            free.append(speeds[0])
            bound.append(speeds[1])
    row = {
        "batch": _BATCH,
        "free_tokens_per_s": round(statistics.median(free), 1),
        "bound_tokens_per_s": round(statistics.median(bound), 1),
        "ratio": round(statistics.median(b / f for f, b in zip(free, bound, strict=True)), 3),
        "ratios": [round(b / f, 3) for f, b in zip(free, bound, strict=True)],
    }
    write_result("constrained", sys.argv[1:], {**lengths, "runs": arguments.runs, "rows": [row]})


if __name__ == "__main__":
    main()
