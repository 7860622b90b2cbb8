"""Sends hostile grammars and schemas to a server while eight other clients stream, and measures the effect.

    python -m benchmarks.hostile FOLDER

Each constraint must be rejected or finish within 3 s and 256 MiB. Meanwhile the other clients, its neighbors, must get
the same text as without it, and the gaps between their tokens may at most double (99th percentile). The script exits
with 1 if a limit is exceeded.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
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

_NEIGHBORS = 8
_FLAGS = ("--listen", "127.0.0.1:0", "--context-length", "1024", "--slots", "12")
_MAX_SECONDS = 3
_MAX_GROWN_MIB = 256
_MAX_GAP_RATIO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The measurements of one constraint."""

    constraint: str
    ended: str
    """The number of tokens, or the status of the error."""
    seconds: float
    grown_mib: int
    """How far the server's peak memory exceeded its memory before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The measurements of all constraints and of the neighbors."""

    rows: list[Row]
    same_text: bool
    neighbors_outlasted_them: bool
    gap_p99_ms: float
    gap_p99_beside_ms: float
    gap_p99_ratio: float
    grown_together_mib: int


@dataclass(slots=True)
class Neighbor:
    """The text that a neighbor received, and the gaps between its tokens."""

    text: str
    gaps_ms: list[float]


class Trial:
    """Makes the calls to one server."""

    def __init__(self, server: ServerProcess, stub: "CompletionServiceAsyncStub", *, output: int) -> None:
        """Takes the stub of an open channel, which it does not close."""
        self._server = server
        self._stub = stub
        self._output = output

    async def neighbors(self) -> list[Neighbor]:
        """Runs eight streams in parallel."""
        return await asyncio.gather(*map(self._neighbor, range(_NEIGHBORS)))

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
        """Memory that the server uses now."""
        return self._status_mib("VmRSS")

    async def _neighbor(self, number: int) -> Neighbor:
        request = StreamCompleteRequest(request=self._request(seed=number, max_tokens=self._output))
        neighbor, last_s = Neighbor("", []), None
        async for event in self._stub.StreamComplete(request):
            if event.WhichOneof("event") == "delta":
                now_s = time.perf_counter()
                neighbor.text += event.delta.text
                if last_s is not None:
                    neighbor.gaps_ms.append((now_s - last_s) * 1000)
                last_s = now_s
        return neighbor

    def _request(self, *, seed: int, max_tokens: int) -> CompleteRequest:
        return CompleteRequest(
            raw_prompt=RawPrompt(token_ids=TokenIds(ids=range(100 + seed, 164 + seed))),
            sampling=SamplingParams(temperature=1, seed=seed, max_tokens=max_tokens, ignore_eos=True),
        )

    def _forget_peak(self) -> None:
        """Resets VmHWM to VmRSS. Linux only."""
        Path(f"/proc/{self._server.pid}/clear_refs").write_text("5", encoding="ascii")

    def _status_mib(self, field: str) -> float:
        """A size from /proc/PID/status. Linux only."""
        lines = Path(f"/proc/{self._server.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


async def measure(folder: Path, output: int) -> Result:
    """Runs the neighbors alone, then again while every hostile constraint is sent in turn."""
    words = ("onward_server", "serve", "--model", str(folder), *_FLAGS)
    async with (
        server_process(sys.executable, "-m", *words) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        trial = Trial(server, CompletionServiceStub(channel), output=output)
        alone = await trial.neighbors()
        before_mib = trial.memory_mib()
        crowd = asyncio.create_task(trial.neighbors())
        rows = [await trial.hostile(name) for name in HOSTILE]
        were_there = not crowd.done()
        grown_mib = trial.memory_mib() - before_mib
        beside = await crowd
    gap_ms, gap_beside_ms = _gap_p99_ms(alone), _gap_p99_ms(beside)
    return Result(
        rows=rows,
        same_text=[n.text for n in alone] == [n.text for n in beside],
        neighbors_outlasted_them=were_there,
        gap_p99_ms=round(gap_ms, 1),
        gap_p99_beside_ms=round(gap_beside_ms, 1),
        gap_p99_ratio=round(gap_beside_ms / gap_ms, 2),
        grown_together_mib=round(grown_mib),
    )


def missed_bars(result: Result) -> Iterator[str]:
    """Yields a sentence for each limit that is exceeded."""
    for row in result.rows:
        if row.ended != "INVALID_ARGUMENT" and not row.ended.endswith(" tokens"):
            yield f"{row.constraint} is neither rejected nor finished, but {row.ended}"
        if row.seconds > _MAX_SECONDS:
            yield f"{row.constraint} took {row.seconds} s, of which {_MAX_SECONDS} are allowed"
        if row.grown_mib > _MAX_GROWN_MIB:
            yield f"{row.constraint} took {row.grown_mib} MiB, of which {_MAX_GROWN_MIB} are allowed"
    if result.grown_together_mib > _MAX_GROWN_MIB:
        yield f"together they left {result.grown_together_mib} MiB, of which {_MAX_GROWN_MIB} are allowed"
    if not result.same_text:
        yield "the neighbors got another text than alone"
    if not result.neighbors_outlasted_them:
        yield "the neighbors ended before the last constraint; raise --output"
    if result.gap_p99_ratio > _MAX_GAP_RATIO:
        yield f"the neighbors' gaps grew to {result.gap_p99_ratio} times, of which {_MAX_GAP_RATIO} are allowed"


def encoded(response_format: domain.ResponseFormat) -> ResponseFormat:
    """The response format as a protobuf message."""
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


def _gap_p99_ms(neighbors: list[Neighbor]) -> float:
    gaps_ms = [gap_ms for neighbor in neighbors for gap_ms in neighbor.gaps_ms]
    return statistics.quantiles(gaps_ms, n=100)[98]


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=int, default=600, help="tokens of each neighbor")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.folder, arguments.output))
    settings = {"model": arguments.folder.name, "output": arguments.output}
    write_result("hostile", sys.argv[1:], {**settings, **asdict(result)})
    if missed := list(missed_bars(result)):
        sys.exit("\n".join(f"missed: {bar}" for bar in missed))


if __name__ == "__main__":
    main()
