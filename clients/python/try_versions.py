"""Runs the client's tests under the oldest and the newest libraries that it promises; needs a package index.

python clients/python/try_versions.py
"""

# ruff: noqa: INP001, S603, T201 - a script that prints, and runs what it says

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = (
    ("grpcio==1.71.2", "protobuf==5.29.*"),
    ("grpcio>=1.85", "protobuf==6.33.*"),
    ("grpcio>=1.85", "protobuf==7.*"),
)
TEST_TOOLS = (
    "grpcio-health-checking",
    "grpcio-status",
    "hypothesis",
    "jsonschema",
    "llguidance",
    "pydantic",
    "pytest",
    "pytest-asyncio",
)
TESTS = ("-m", "pytest", "-q", "--confcutdir", "tests/unit/onward_client", "tests/unit/onward_client")


def try_versions(versions: tuple[str, ...], folder: Path) -> None:
    """Installs the client with these versions, imports it with nothing else there, then runs its tests."""
    python = str(folder / "bin" / "python")
    install = ("uv", "pip", "install", "--quiet", "--python", python, *versions)
    _run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(folder))
    _run(sys.executable, "-m", *install, str(ROOT / "clients" / "python"))
    _run(python, "-c", "import onward_client")
    _run(sys.executable, "-m", *install, *TEST_TOOLS)
    _run(python, *TESTS)


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    for chosen in VERSIONS:
        print(*chosen, flush=True)
        with tempfile.TemporaryDirectory() as made:
            try_versions(chosen, Path(made))
