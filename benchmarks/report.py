"""Writes a benchmark's result with the machine, the commit and the versions it was measured on."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "grpcio", "protobuf")


def write_result(name: str, arguments: Sequence[str], result: dict[str, object]) -> None:
    """Writes results/NAME.json, and the same JSON as the last line of standard output."""
    document = {"benchmark": name, "command": _command(name, arguments), **environment(), **result}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


def environment() -> dict[str, object]:
    """The machine, the commit and the versions of a measurement."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git("status", "--porcelain") else ""),
        "hardware": {"cpu": _cpu_name(), "cores": len(os.sched_getaffinity(0)), "memory_gib": _memory_gib()},
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _command(name: str, arguments: Sequence[str]) -> str:
    """The command line, with file names in place of paths."""
    words = [Path(word).name if "/" in word else word for word in arguments]
    return " ".join(["python -m", f"benchmarks.{name.partition('-')[0]}", *words])


def _git(*words: str) -> str:
    git = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return git.stdout.strip()


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
