"""Sends hostile grammars and schemas to a real server while eight neighbours stream, and watches all of them.

    python -m benchmarks.hostile FOLDER --tokenizer TOKENIZER_JSON

Each constraint must be refused or done within 3 s and 256 MiB, while the neighbours give the same text as without them,
with gaps between their tokens at most doubled (99th percentile). It exits with 1 where one of these bars is missed.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, assert_never

import grpc
import grpc.aio

from benchmarks.report import write_result
from benchmarks.server_process import ServerProcess, server_process
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, StreamCompleteRequest, TokenIds
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.sampling_pb2 import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    SamplingParams,
)
from onward_server import domain
from testing.hostile_constraints import HOSTILE

if TYPE_CHECKING:
    from onward.v1.completion_service_pb2_grpc import CompletionServiceAsyncStub

_NEIGHBOURS = 8
_FLAGS = ("--listen", "127.0.0.1:0", "--context-length", "1024", "--slots", "12")
_MAX_SECONDS = 3
_MAX_GROWN_MIB = 256
_MAX_GAP_RATIO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one constraint."""

    constraint: str
    ended: str
    """After how many tokens, or with which status."""
    seconds: float
    grown_mib: int
    """The most memory that the server had meanwhile, over what it had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All constraints, and what the neighbours saw of them."""

    rows: list[Row]
    same_text: bool
    neighbours_outlasted_them: bool
    gap_p99_ms: float
    gap_p99_beside_ms: float
    gap_p99_ratio: float
    grown_together_mib: int


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

    async def hostile(self, name: str) -> Row:
        """Sends one constraint."""
        self._forget_peak()
        before_mib, started_s = self.memory_mib(), time.perf_counter()
        request = self._request(seed=1, max_tokens=8)
        request.response_format.CopyFrom(encoded(HOSTILE[name]))
        try:
            response = await self._stub.Complete(request)
            ended = f"{response.choices[0].completion_tokens} tokens"
        except grpc.aio.AioRpcError as error:
            ended = error.code().name
        return Row(
            constraint=name,
            ended=ended,
            seconds=round(time.perf_counter() - started_s, 2),
            grown_mib=round(self._status_mib("VmHWM") - before_mib),
        )

    def memory_mib(self) -> float:
        """What the server has now."""
        return self._status_mib("VmRSS")

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

    def _forget_peak(self) -> None:
        """Linux only: VmHWM starts again from VmRSS."""
        Path(f"/proc/{self._server.pid}/clear_refs").write_text("5", encoding="ascii")

    def _status_mib(self, field: str) -> float:
        """Linux only."""
        lines = Path(f"/proc/{self._server.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


async def measure(folder: Path, answer: int) -> Result:
    """Neighbours alone, then with every hostile constraint one after another beside them."""
    words = ("onward_server", "serve", "--model", str(folder), *_FLAGS)
    async with server_process(*words) as server, grpc.aio.insecure_channel(server.address) as channel:
        trial = Trial(server, CompletionServiceStub(channel), answer=answer)
        alone = await trial.neighbours()
        before_mib = trial.memory_mib()
        crowd = asyncio.create_task(trial.neighbours())
        rows = [await trial.hostile(name) for name in HOSTILE]
        were_there = not crowd.done()
        grown_mib = trial.memory_mib() - before_mib
        beside = await crowd
    gap_ms, gap_beside_ms = _gap_p99_ms(alone), _gap_p99_ms(beside)
    return Result(
        rows=rows,
        same_text=[n.text for n in alone] == [n.text for n in beside],
        neighbours_outlasted_them=were_there,
        gap_p99_ms=round(gap_ms, 1),
        gap_p99_beside_ms=round(gap_beside_ms, 1),
        gap_p99_ratio=round(gap_beside_ms / gap_ms, 2),
        grown_together_mib=round(grown_mib),
    )


def missed_bars(result: Result) -> Iterator[str]:
    """What is not as it should be."""
    for row in result.rows:
        if row.ended != "INVALID_ARGUMENT" and not row.ended.endswith(" tokens"):
            yield f"{row.constraint} is neither refused nor done, but {row.ended}"
        if row.seconds > _MAX_SECONDS:
            yield f"{row.constraint} took {row.seconds} s, of which {_MAX_SECONDS} are allowed"
        if row.grown_mib > _MAX_GROWN_MIB:
            yield f"{row.constraint} took {row.grown_mib} MiB, of which {_MAX_GROWN_MIB} are allowed"
    if result.grown_together_mib > _MAX_GROWN_MIB:
        yield f"together they left {result.grown_together_mib} MiB, of which {_MAX_GROWN_MIB} are allowed"
    if not result.same_text:
        yield "the neighbours gave another text than alone"
    if not result.neighbours_outlasted_them:
        yield "the neighbours ended before the last constraint; ask for a longer --answer"
    if result.gap_p99_ratio > _MAX_GAP_RATIO:
        yield f"the neighbours' gaps grew to {result.gap_p99_ratio} times, of which {_MAX_GAP_RATIO} are allowed"


def encoded(response_format: domain.ResponseFormat) -> ResponseFormat:
    """As a request carries it."""
    match response_format:
        case domain.JsonObjectFormat():
            return ResponseFormat(json_object=JsonObjectFormat())
        case domain.JsonSchemaFormat(schema=schema):
            return ResponseFormat(json_schema=JsonSchemaFormat(schema=schema))
        case domain.RegexFormat(pattern=pattern):
            return ResponseFormat(regex=RegexFormat(pattern=pattern))
        case domain.GrammarFormat(definition=definition):
            lark = GrammarFormat(syntax=GrammarFormat.SYNTAX_LARK, definition=definition)
            return ResponseFormat(grammar=lark)
        case domain.ChoiceFormat(choices=choices):
            return ResponseFormat(choice=ChoiceFormat(choices=choices))
        case _:
            assert_never(response_format)


def _gap_p99_ms(neighbours: list[Neighbour]) -> float:
    gaps_ms = [gap_ms for neighbour in neighbours for gap_ms in neighbour.gaps_ms]
    return statistics.quantiles(gaps_ms, n=100)[98]


@contextmanager
def _with_tokenizer(folder: Path, tokenizer: Path | None) -> Generator[Path]:
    """The same model with another tokenizer, in a folder that lasts as long as the block; None: with its own."""
    if tokenizer is None:
        yield folder
        return
    with TemporaryDirectory(dir=folder.parent) as directory:
        copy = Path(directory) / folder.name
        shutil.copytree(folder, copy, copy_function=os.link, ignore=shutil.ignore_patterns("tokenizer.json"))
        shutil.copy(tokenizer, copy / "tokenizer.json")
        yield copy


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="instead of the folder's own")
    parser.add_argument("--answer", type=int, default=600, help="tokens of each neighbour")
    arguments = parser.parse_args()
    with _with_tokenizer(arguments.folder, arguments.tokenizer) as folder:
        result = asyncio.run(measure(folder, arguments.answer))
    settings = {"model": arguments.folder.name, "answer": arguments.answer}
    write_result("hostile", sys.argv[1:], {**settings, **asdict(result)})
    if missed := list(missed_bars(result)):
        sys.exit("\n".join(f"missed: {bar}" for bar in missed))


if __name__ == "__main__":
    main()
