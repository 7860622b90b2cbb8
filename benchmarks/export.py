"""Measures the time and the peak memory of `onward export`.

    python -m benchmarks.export FOLDER    FOLDER: where checkpoints and exports are written (up to 7 GB)

Checkpoints have random weights in bfloat16, in the shapes of SmolLM2-135M and TinyLlama-1.1B, the latter in one file
and in several. Each is exported in each precision by a process of its own. The script exits with 1 if an export takes
more memory than 1.5 times the largest tensor plus 1 GiB, or if one of SmolLM2's shape takes more than 30 s.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import write_result
from onward_server.model.exporting.precision import PRECISIONS
from testing.random_checkpoint import llama_config, write_llama_checkpoint

_MIB = 2**20
_SMOLLM2_135M = llama_config(vocab=49152, hidden=576, inner=1536, layers=30, heads=(9, 3), tied=True)
_TINYLLAMA_1B = llama_config(vocab=32000, hidden=2048, inner=5632, layers=22, heads=(32, 4), tied=False)
_CHECKPOINTS = {
    "135m": (_SMOLLM2_135M, 1),
    "1.1b": (_TINYLLAMA_1B, 1),
    "1.1b-sharded": (_TINYLLAMA_1B, 4),
}
_MAX_S = {"135m": 30.0}


def measure(source: Path, output: Path, precision: str) -> tuple[float, int, int]:
    """Exports in a process of its own. Returns seconds, the bytes of its peak memory, and those it wrote."""
    command = [sys.executable, "-m", "onward_server", "export", str(source), str(output), "--precision", precision]
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started_s
    if process.returncode:
        raise RuntimeError(said)
    return seconds, usage.ru_maxrss * 1024, sum(file.stat().st_size for file in output.iterdir())


def _rows(folder: Path, names: Sequence[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in names:
        config, num_files = _CHECKPOINTS[name]
        source, output = folder / name, folder / f"{name}-export"
        if not source.exists():
            write_llama_checkpoint(source, config, num_files=num_files)
        largest = 2 * int(str(config["vocab_size"])) * int(str(config["hidden_size"]))
        for precision in PRECISIONS:
            shutil.rmtree(output, ignore_errors=True)
            seconds, peak, num_bytes = measure(source, output, precision)
            rows.append(
                {
                    "checkpoint": name,
                    "precision": precision,
                    "seconds": round(seconds, 1),
                    "peak_mib": round(peak / _MIB),
                    "bound_mib": round(1.5 * largest / _MIB + 1024),
                    "written_mib": round(num_bytes / _MIB),
                }
            )
            print(rows[-1], file=sys.stderr)
        shutil.rmtree(output, ignore_errors=True)
    return rows


def faults(rows: Sequence[dict[str, object]]) -> list[str]:
    """The rows that exceed a bound."""
    found: list[str] = []
    for row in rows:
        name, what = str(row["checkpoint"]), f"{row['checkpoint']} in {row['precision']}"
        if int(str(row["peak_mib"])) > int(str(row["bound_mib"])):
            found.append(f"{what}: {row['peak_mib']} MiB exceed {row['bound_mib']} MiB")
        if float(str(row["seconds"])) > _MAX_S.get(name, float("inf")):
            found.append(f"{what}: {row['seconds']} s exceed {_MAX_S[name]:g} s")
    return found


def main() -> None:
    """Measure, write the result, and exit with 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoints", nargs="+", choices=tuple(_CHECKPOINTS), default=tuple(_CHECKPOINTS))
    arguments = parser.parse_args()
    rows = _rows(arguments.folder, arguments.checkpoints)
    write_result("export", sys.argv[1:], {"rows": rows})
    for fault in (found := faults(rows)):
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
