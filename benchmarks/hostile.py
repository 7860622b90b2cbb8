"""Sends hostile grammars and schemas to a real server while eight neighbours stream, and watches all of them.

    python -m benchmarks.hostile FOLDER

Each constraint must be refused or done within 3 s, together within 256 MiB, while the neighbours give the same text as
without them, with gaps between their tokens at most doubled (99th percentile).
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from benchmarks.report import write_result
from benchmarks.server_process import ServerProcess, server_process
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, StreamCompleteRequest, TokenIds
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.sampling_pb2 import (
    ChoiceFormat,
    GrammarFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    SamplingParams,
)

if TYPE_CHECKING:
    from onward.v1.completion_service_pb2_grpc import CompletionServiceAsyncStub

_NEIGHBOURS = 8
_FLAGS = ("--listen", "127.0.0.1:0", "--context-length", "1024", "--slots", "12")


def _schema(schema: object) -> ResponseFormat:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return ResponseFormat(json_schema=JsonSchemaFormat(schema=text))


def _regex(pattern: str) -> ResponseFormat:
    return ResponseFormat(regex=RegexFormat(pattern=pattern))


def _lark(definition: str) -> ResponseFormat:
    return ResponseFormat(grammar=GrammarFormat(syntax=GrammarFormat.SYNTAX_LARK, definition=definition))


def _deep(depth: int) -> str:
    return '{"type":"object","properties":{"a":' * depth + '{"type":"integer"}' + '},"required":["a"]}' * depth


HOSTILE: dict[str, ResponseFormat] = {
    "schema 100 deep": _schema(_deep(100)),
    "schema 1,000 deep": _schema(_deep(1000)),
    "schema 20,000 deep": _schema(_deep(20_000)),
    "5,000 properties": _schema({"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(5000)}}),
    "enum of 50,000": _schema({"enum": [f"value{i}" * 5 for i in range(50_000)]}),
    "nested repeats": _regex("(a{1,1000}){1,1000}"),
    "two long tails": _regex("(.*a.{200}b)(.*c.{200}d)"),
    "ambiguous repeats": _regex("(x+x+)+y"),
    "exponential states": _regex("(a|b)*a(a|b){25}"),
    "lookahead": _regex("(?=a)b"),
    "20,000 alternatives": _regex("|".join(f"w{i}[0-9]{{1,9}}" for i in range(20_000))),
    "30,000 parentheses": _lark("start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "self reference": _schema({"$ref": "#"}),
    "a billion items": _schema({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    "broken JSON": _schema('{"type":'),
    "left recursion": _lark('start: start "a" | "a"'),
    "empty rule": _lark("start: "),
    "20,000 choices": ResponseFormat(choice=ChoiceFormat(choices=[f"choice number {i}" for i in range(20_000)])),
}


@dataclass(slots=True)
class Neighbour:
    """What one neighbour's client saw."""

    text: str
    gaps_ms: list[float]


class Trial:
    """Calls one server."""

    def __init__(self, server: ServerProcess, stub: "CompletionServiceAsyncStub", *, answer: int) -> None:
        """The channel behind the stub is the caller's to close."""
        self._server = server
        self._stub = stub
        self._answer = answer

    async def neighbours(self) -> list[Neighbour]:
        """Eight streams side by side."""
        return await asyncio.gather(*map(self._neighbour, range(_NEIGHBOURS)))

    async def hostile(self, name: str) -> dict[str, object]:
        """One constraint: how it ended, how long it took, and what memory the server had grown to."""
        before, started_s = self._memory("VmRSS"), time.perf_counter()
        request = self._request(seed=1, max_tokens=8)
        request.response_format.CopyFrom(HOSTILE[name])
        try:
            response = await self._stub.Complete(request)
            ended = f"{response.choices[0].completion_tokens} tokens"
        except grpc.aio.AioRpcError as error:
            ended = error.code().name
        return {
            "constraint": name,
            "ended": ended,
            "seconds": round(time.perf_counter() - started_s, 2),
            "grown_mib": round(self._memory("VmRSS") - before),
        }

    def peak_mib(self) -> float:
        """The most memory that the server ever had."""
        return self._memory("VmHWM")

    async def _neighbour(self, number: int) -> Neighbour:
        request = StreamCompleteRequest(request=self._request(seed=number, max_tokens=self._answer))
        neighbour, last_s = Neighbour("", []), None
        async for event in self._stub.StreamComplete(request):
            if event.WhichOneof("event") == "delta":
                now_s = time.perf_counter()
                neighbour.text += event.delta.text
                if last_s is not None:
                    neighbour.gaps_ms.append((now_s - last_s) * 1000)
                last_s = now_s
        return neighbour

    def _request(self, *, seed: int, max_tokens: int) -> CompleteRequest:
        return CompleteRequest(
            raw_prompt=RawPrompt(token_ids=TokenIds(ids=range(100 + seed, 164 + seed))),
            sampling=SamplingParams(temperature=1, seed=seed, max_tokens=max_tokens, ignore_eos=True),
        )

    def _memory(self, field: str) -> float:
        """MiB, Linux only."""
        lines = Path(f"/proc/{self._server.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


async def measure(folder: Path, answer: int) -> dict[str, object]:
    """Neighbours alone, then with every hostile constraint one after another beside them."""
    words = ("service", "serve", "--model", str(folder), *_FLAGS)
    async with server_process(*words) as server, grpc.aio.insecure_channel(server.address) as channel:
        trial = Trial(server, CompletionServiceStub(channel), answer=answer)
        alone = await trial.neighbours()
        peak_mib = trial.peak_mib()
        crowd = asyncio.create_task(trial.neighbours())
        rows = [await trial.hostile(name) for name in HOSTILE]
        were_there = not crowd.done()
        beside = await crowd
        gaps = {name: _p99([gap for n in side for gap in n.gaps_ms]) for name, side in (("a", alone), ("b", beside))}
        return {
            "rows": rows,
            "same_text": [n.text for n in alone] == [n.text for n in beside],
            "neighbours_outlasted_them": were_there,
            "gap_p99_ms": round(gaps["a"], 1),
            "gap_p99_beside_ms": round(gaps["b"], 1),
            "gap_p99_ratio": round(gaps["b"] / gaps["a"], 2),
            "peak_growth_mib": round(trial.peak_mib() - peak_mib),
        }


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--answer", type=int, default=600, help="tokens of each neighbour")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.folder, arguments.answer))
    write_result("hostile", sys.argv[1:], {"model": arguments.folder.name, "answer": arguments.answer, **result})


if __name__ == "__main__":
    main()
