"""The embedded model, served by a process of its own."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.command import COMMAND
from tests.waiting import WAIT_S


@dataclass(frozen=True, slots=True)
class ServeProcess:
    """A running server."""

    address: str
    process: asyncio.subprocess.Process

    def resident_mib(self) -> float:
        """The memory that it holds. Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


@asynccontextmanager
async def serve_process(listen: str = "127.0.0.1:0", *words: str) -> AsyncGenerator[ServeProcess]:
    """Serves while the block runs, then sends SIGTERM. Fails if the exit code is not 0."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--listen", listen, "--log-level", "error", *words, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(WAIT_S):
            while not (found := re.search(r" on (\S+); try: ", said[-1] if said else "")):
                line = await process.stderr.readline()
                assert line, f"the server ended before it listened: {''.join(said)}"
                said.append(line.decode())
        forwarding = asyncio.create_task(_forward(process.stderr))
        yield ServeProcess(found[1], process)
        process.terminate()
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0
        await forwarding
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _forward(lines: asyncio.StreamReader) -> None:
    """Shows the errors of the server with those of the test."""
    while line := await lines.readline():
        sys.stderr.write(line.decode(errors="replace"))
