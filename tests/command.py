"""Runs the `onward` command as a process, as users do."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import WAIT_S

COMMAND = (sys.executable, "-m", "onward_server")

_WITHOUT_PRIVILEGES = """
import ctypes, os, sys
set_bounding_set, dac_override, dac_read_search = 24, 1, 2
for capability in (dac_override, dac_read_search):
    if ctypes.CDLL(None).prctl(set_bounding_set, capability, 0, 0, 0):
        sys.exit("cannot drop a capability")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Replaces itself by a command that root runs without the capabilities to ignore the modes of files."""

_ON_A_SMALL_DISK = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Replaces itself by a command that can write files up to a size. Its coverage is not measured: that file is larger."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The process of a server, and its address."""

    process: subprocess.Popen[str]
    address: str

    def ended(self) -> int:
        """Waits for the process and returns its exit code."""
        return self.process.wait(WAIT_S)


def onward(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command until it exits."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=WAIT_S, check=False)


def onward_without_privileges(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that obeys the modes of files, even if the tests run as root."""
    command = [*COMMAND, *words]
    if os.geteuid() == 0:
        command = [sys.executable, "-c", _WITHOUT_PRIVILEGES, *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def onward_on_a_small_disk(num_bytes: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that cannot write files of more than `num_bytes`."""
    command = [sys.executable, "-c", _ON_A_SMALL_DISK, str(num_bytes), *COMMAND, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def address_said_by(process: subprocess.Popen[str]) -> str:
    """Reads the log of a server until it has the address."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r" on (\S+); try: ", line):
            return found[1]
    raise AssertionError(f"the server ended before it listened: {''.join(lines)}")


@contextmanager
def onward_serve(folder: Path, *words: str) -> Generator[Serving]:
    """Serves a model folder while the block runs."""
    command = [*COMMAND, "serve", "--model", str(folder), "--listen", "127.0.0.1:0", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Serving(process, address_said_by(process))
        finally:
            process.kill()
