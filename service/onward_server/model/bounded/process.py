"""Runs a module of this package in a child process with limits of memory and time.

A hostile file that makes a library crash, abort, hang or take all memory then ends the child alone. On Linux the kernel
kills the child together with its parent; elsewhere an orphan ends itself when its time is over.
"""

import contextlib
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass

from onward_server.model.bounded.child import NOT_STARTED, OUT_OF_MEMORY, REFUSED, Start, is_lack_of_memory

logger = logging.getLogger(__name__)

_BOOTSTRAP = (
    "import json, sys\n"
    "start = json.loads(sys.argv[1])\n"
    "sys.path[:] = start.pop('path')\n"
    "from onward_server.model.bounded.child import Start, run\n"
    "run(Start(**start))\n"
)
"""Gives the child the parent's search path. So it finds the same packages in whatever way the parent found them."""
_CHUNK_BYTES = 1 << 16
_MAX_STDERR_BYTES = 1 << 16
_MAX_REPORT_BYTES = 1 << 16
_POLL_S = 0.1
_COLOR = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use."""

    memory_bytes: int
    """Memory beyond that of the interpreter and the imported module."""
    processor_s: int
    """Processor time of all its threads, after the imports."""
    wall_s: float
    """Time from its start to its end."""
    output_bytes: int = 1 << 30
    """Size of what it returns."""


class ChildFailed(Exception):
    """A child did not return; the message says why, as the end of a sentence."""


class ChildOutOfMemory(ChildFailed):
    """It needed more memory than its limit."""


class ChildTooSlow(ChildFailed):
    """It needed more time than its limit, or returned more than its limit."""


class ChildKilled(ChildFailed):
    """The kernel or another process killed it."""


class ChildCrashed(ChildFailed):
    """It ended by a signal, or by an exception that is no OnwardError."""


class ChildNotStarted(ChildFailed):
    """Its module cannot be imported, which says nothing about its task."""


class ChildRefused(ChildFailed):
    """Its module raised an OnwardError, whose message is this one's."""


def run_bounded(
    module: str,
    arguments: Sequence[str],
    limits: Limits,
    *,
    data: bytes = b"",
    on_report: Callable[[str], None] | None = None,
) -> bytes:
    """Returns `module.run_in_child(arguments, data)`, which a child process computes.

    It has the interpreter, search path and environment of this process, but ignores the variables of Python itself.
    What it writes to stderr is logged. Starting takes about 0.1 s, besides the imports of the module.

    Args:
        module: Full name of a module in this package.
        arguments: Short values, such as paths.
        limits: What the child may use.
        data: Contents that the child should not read again from a file, which may have changed.
        on_report: Called for each line that the child reports while it runs. The child writes them to the descriptor
            whose number is added to its arguments. What this function raises ends the child, and is raised here.

    Raises:
        ChildFailed: One of its subclasses says how the child ended.
    """
    deadline_s = time.monotonic() + limits.wall_s
    with _reports(on_report) as reports, _started(module, arguments, limits, reports) as child:
        streams = _Streams(child, data, reports)
        try:
            while streams.are_open:
                streams.pass_on(min(_POLL_S, max(0.0, deadline_s - time.monotonic())))
                _require_within_limits(child, limits, deadline_s, len(streams.output))
            status = child.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _too_slow(limits) from None
        finally:
            streams.close()
            streams.log(module)
    if status == 0:
        return bytes(streams.output)
    raise _failure(status, bytes(streams.output), streams.messages.decode(errors="replace"), limits)


class _Reports:
    """A pipe on which a child reports lines of text."""

    def __init__(self, on_report: Callable[[str], None]) -> None:
        self._on_report = on_report
        self._line = bytearray()
        self.read_end, self.write_end = os.pipe()

    def receive(self, chunk: bytes) -> None:
        """Passes complete lines on."""
        *lines, rest = (self._line + chunk).split(b"\n")
        self._line = rest[:_MAX_REPORT_BYTES]
        for line in lines:
            self._on_report(line.decode(errors="replace"))

    def close_write_end(self) -> None:
        """Leaves that end to the child. So reading ends when the child does."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.close_write_end()
        os.close(self.read_end)


@contextlib.contextmanager
def _reports(on_report: Callable[[str], None] | None) -> Generator[_Reports | None]:
    if on_report is None:
        yield None
        return
    with contextlib.closing(_Reports(on_report)) as reports:
        yield reports


@contextlib.contextmanager
def _started(
    module: str, arguments: Sequence[str], limits: Limits, reports: _Reports | None
) -> Generator[subprocess.Popen[bytes]]:
    """A running child, which is killed at the end of the block if it still runs."""
    passed = [] if reports is None else [reports.write_end]
    start = Start(
        module=module,
        arguments=[*arguments, *map(str, passed)],
        parent=os.getpid(),
        memory_bytes=limits.memory_bytes,
        processor_s=limits.processor_s,
        wall_s=limits.wall_s,
    )
    path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100  an empty entry means the working directory
    with subprocess.Popen(  # noqa: S603  this interpreter, and code of this package
        [sys.executable, "-I", "-c", _BOOTSTRAP, json.dumps({"path": path, **asdict(start)})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=passed,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then kills the child
    ) as child:
        try:
            if reports is not None:
                reports.close_write_end()
            yield child
        finally:
            child.kill()


class _Streams:
    """The pipes to and from a child."""

    def __init__(self, child: subprocess.Popen[bytes], data: bytes, reports: _Reports | None) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self.output = bytearray()
        self.messages = bytearray()
        """The last bytes of its stderr."""
        self._data = memoryview(data)
        self._stdin, self._stderr = child.stdin, child.stderr
        self._selector = selectors.DefaultSelector()
        os.set_blocking(child.stdin.fileno(), False)
        self._selector.register(child.stdin, selectors.EVENT_WRITE)
        self._selector.register(child.stdout, selectors.EVENT_READ)
        self._selector.register(child.stderr, selectors.EVENT_READ)
        self._reports = reports
        if reports is not None:
            self._selector.register(reports.read_end, selectors.EVENT_READ)

    @property
    def are_open(self) -> bool:
        return bool(self._selector.get_map())

    def pass_on(self, wait_s: float) -> None:
        """Waits for a pipe that is ready, and moves what it can."""
        for key, _ in self._selector.select(wait_s):
            pipe = key.fileobj
            if pipe is self._stdin:
                self._send()
            elif chunk := os.read(key.fd, _CHUNK_BYTES):
                self._receive(pipe, chunk)
            else:
                self._selector.unregister(pipe)

    def _receive(self, pipe: object, chunk: bytes) -> None:
        if pipe is self._stderr:
            self.messages += chunk
            del self.messages[:-_MAX_STDERR_BYTES]
        elif self._reports is not None and pipe == self._reports.read_end:
            self._reports.receive(chunk)
        else:
            self.output += chunk

    def close(self) -> None:
        """Stops waiting for the pipes, which are the child's to close."""
        self._selector.close()

    def log(self, module: str) -> None:
        """Logs what the child has written to stderr."""
        for line in _COLOR.sub(b"", self.messages).decode(errors="backslashreplace").splitlines():
            if line.strip():
                logger.warning("%s: %s", module, line)

    def _send(self) -> None:
        try:
            self._data = self._data[os.write(self._stdin.fileno(), self._data[:_CHUNK_BYTES]) :]
        except BrokenPipeError:  # it has ended; its status says how
            self._data = self._data[:0]
        if not self._data:
            self._selector.unregister(self._stdin)
            self._stdin.close()


def _require_within_limits(
    child: subprocess.Popen[bytes], limits: Limits, deadline_s: float, num_output_bytes: int
) -> None:
    if time.monotonic() >= deadline_s:
        raise _too_slow(limits)
    if num_output_bytes > limits.output_bytes:
        raise ChildTooSlow(f"it returns more than {limits.output_bytes:,} bytes")
    if sys.platform != "linux" and _resident_bytes(child.pid) > limits.memory_bytes:
        raise _out_of_memory(limits)


def _resident_bytes(pid: int) -> int:
    """Memory of a process, for systems that do not enforce a limit themselves; 0 if the process has ended."""
    listed = subprocess.run(  # noqa: S603
        ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return int(listed.stdout.strip() or 0) * 1024


def _failure(status: int, output: bytes, messages: str, limits: Limits) -> ChildFailed:
    if status in (REFUSED, NOT_STARTED):
        text = output.decode(errors="replace")
        return ChildRefused(text) if status == REFUSED else ChildNotStarted(f"its process cannot start: {text}")
    if status == OUT_OF_MEMORY or is_lack_of_memory(messages):
        return _out_of_memory(limits)
    if status == -signal.SIGXCPU:
        return ChildTooSlow(f"it takes more than {limits.processor_s} s of processor time")
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        name = signal.Signals(-status).name
        return ChildKilled(f"its process was killed with {name}, perhaps because the machine has too little memory")
    if status < 0:
        return ChildCrashed(f"it crashes its process with {signal.Signals(-status).name}")
    last_line = messages.strip().rpartition("\n")[2]
    return ChildCrashed(f"it ends its process with exit code {status}: {last_line}")


def _out_of_memory(limits: Limits) -> ChildOutOfMemory:
    return ChildOutOfMemory(f"it takes more than {limits.memory_bytes / 2**20:,.0f} MiB of memory")


def _too_slow(limits: Limits) -> ChildTooSlow:
    return ChildTooSlow(f"it takes more than {limits.wall_s:g} s")
