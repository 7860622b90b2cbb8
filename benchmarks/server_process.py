"""Starts a server in a process of its own and reads its address."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import REPOSITORY

_ADDRESS = re.compile(r" serves\b.* on (\S+:\d+);")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server."""

    address: str
    pid: int
    log: str
    """What it printed up to the address."""

    def cpu_s(self) -> float:
        """Processor time used so far. Linux only."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_bytes(self) -> int:
        """The most memory that was resident. Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@asynccontextmanager
async def server_process(*command: str) -> AsyncGenerator[ServerProcess]:
    """Runs a command that starts a server until the block ends.

    Raises:
        RuntimeError: the process ended before it printed an address.
    """
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE)
    if process.stderr is None:
        raise AssertionError
    drain: asyncio.Task[None] | None = None
    try:
        address, log = await _address(process.stderr)
        drain = asyncio.create_task(_drain(process.stderr))
        yield ServerProcess(address, process.pid, log)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        if drain is not None:
            await drain
        await process.wait()


async def _address(lines: asyncio.StreamReader) -> tuple[str, str]:
    said: list[str] = []
    while line := (await lines.readline()).decode():
        said.append(line)
        if found := _ADDRESS.search(line):
            return found[1], "".join(said)
    raise RuntimeError(f"the server ended before it printed an address:\n{''.join(said)}")


async def _drain(lines: asyncio.StreamReader) -> None:
    """Discards the log, so that the server never blocks on a full pipe."""
    while await lines.read(1 << 16):
        pass
