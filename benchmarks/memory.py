"""Measures the memory of a server, and compares it with the plan in its log.

    python -m benchmarks.memory MODELS    MODELS: a folder with the exports fp32 and int4

First, eight prompts of 512 tokens at once, with eight slots of the model's whole context. Then all slots are filled to
the end of their context, for one, 8 and 32 slots and both cache layouts. Decomposed exports for the growing layout are
written to MODELS; they are served without being rewritten. The script exits with 1 if a peak exceeds its bound, or if
a plan differs from the peak by more than 10 %.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from benchmarks.load import requests
from benchmarks.report import write_result
from benchmarks.server_process import ServerProcess, server_process
from benchmarks.smollm2_shape import FORMATS, write_folder
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub

if TYPE_CHECKING:  # in the stubs only
    from testing.other_exporters.decoder_graph import Layout

_MIB = 2**20
_PROMPT = 512
_BOUNDS_MIB = {"fp32": 1050, "int4": 620}
"""For eight prompts of 512 tokens."""
_SIZES = ((1, 512), (8, 128), (32, 64))
"""Slots and context length of the servers that are filled."""
_TOLERANCE = 0.1
_OUTPUT = 4


async def _call_all(server: ServerProcess, calls: int, *, prompt: int, output: int) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = CompletionServiceStub(channel)
        await asyncio.gather(*(stub.Complete(job) for job in requests(calls, prompt=prompt, output=output)))


async def measure(
    folder: Path, layout: str, *, slots: int, context: int | None, prompt: int, output: int
) -> dict[str, object]:
    """A row of the result, from a server of its own whose slots all get a prompt at once."""
    size = () if context is None else ("--context-length", str(context))
    rewrite = () if layout == "slots" else ("--no-rewrite",)
    words = ("serve", "--model", str(folder), "--listen", "127.0.0.1:0", "--log-format", "json", "--slots", str(slots))
    async with server_process(sys.executable, "-m", "onward_server", *words, *size, *rewrite) as server:
        await _call_all(server, slots, prompt=prompt, output=output)
        peak = server.peak_memory_bytes()
        row: dict[str, object] = {
            "model": folder.name,
            "slots": slots,
            "context": context or "the model's",
            "prompt": prompt,
            "ready_mib": _logged_mib(server, "resident_bytes"),
            "peak_mib": round(peak / _MIB),
            "planned_mib": _logged_mib(server, "planned_bytes"),
        }
        print(row, file=sys.stderr)
        return row


def _logged_mib(server: ServerProcess, name: str) -> int:
    (num_bytes,) = re.findall(rf'"{name}": ?(\d+)', server.log)
    return round(int(num_bytes) / _MIB)


async def _rows(models: Path, layouts: "Sequence[Layout]") -> list[dict[str, object]]:
    rows = [
        await measure(models / name, "slots", slots=8, context=None, prompt=_PROMPT, output=_OUTPUT)
        for name in _BOUNDS_MIB
    ]
    for layout in layouts:
        for name, formats in FORMATS.items():
            folder = models / (name if layout == "slots" else f"{layout}-{name}")
            if layout != "slots":
                write_folder(folder, formats, layout=layout)
            rows += [
                await measure(
                    folder, layout, slots=slots, context=context, prompt=context - _OUTPUT + 1, output=_OUTPUT
                )
                for slots, context in _SIZES
            ]
    return rows


def faults(rows: Sequence[dict[str, object]]) -> list[str]:
    """The rows that exceed their bound, and those whose plan is not the peak."""
    found: list[str] = []
    for row in rows:
        peak, planned, name = int(str(row["peak_mib"])), int(str(row["planned_mib"])), str(row["model"])
        if row["prompt"] == _PROMPT and row["slots"] == 8 and peak > _BOUNDS_MIB[name]:
            found.append(f"{name}: {peak} MiB exceed {_BOUNDS_MIB[name]} MiB")
        is_full = isinstance(row["context"], int)
        if is_full and not 1 - _TOLERANCE <= planned / peak <= 1 + _TOLERANCE:
            found.append(f"{name} with {row['slots']} slots: {planned} MiB are planned, but the peak is {peak} MiB")
    return found


def main() -> None:
    """Measure, write the result, and exit with 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--layouts", nargs="+", choices=("slots", "growing"), default=("slots", "growing"))
    arguments = parser.parse_args()
    rows = asyncio.run(_rows(arguments.models, arguments.layouts))
    write_result("memory", sys.argv[1:], {"rows": rows, "bounds_mib": _BOUNDS_MIB, "tolerance": _TOLERANCE})
    for fault in (found := faults(rows)):
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
