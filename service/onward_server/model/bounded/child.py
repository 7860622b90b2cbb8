"""What a child process of `process` does: it limits itself, and runs one function of one module."""

import contextlib
import ctypes
import faulthandler
import importlib
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from onward_server.errors import OnwardError

REFUSED, OUT_OF_MEMORY, NOT_STARTED = 90, 91, 92
"""Exit codes. With REFUSED and NOT_STARTED, stdout has the message of the error."""

_FUNCTION = "run_in_child"
_PR_SET_PDEATHSIG = 1
_GRACE_S = 1.0
"""How long after the parent's limit the child ends itself. The parent is earlier, because it says why."""
_LACK_OF_MEMORY = re.compile("MemoryError|bad_alloc|bad allocation|[Ff]ailed to allocate memory|memory allocation of")
"""Found in the errors and last words of Python, C++, ONNX Runtime and Rust, whose allocator aborts the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a child is started with, as JSON."""

    module: str
    arguments: list[str]
    parent: int
    """Process id of the parent."""
    memory_bytes: int
    processor_s: int
    wall_s: float


def run(start: Start) -> NoReturn:
    """Runs the module's function, writes its result to stdout, and ends the process."""
    _end_with_parent(start.parent)
    faulthandler.dump_traceback_later(start.wall_s + _GRACE_S, exit=True)
    output = os.dup(1)
    os.dup2(2, 1)  # libraries print to stdout, too
    try:
        module = importlib.import_module(start.module)
    except ImportError as error:
        status, result = NOT_STARTED, str(error).encode()
    else:
        function = cast("Callable[[Sequence[str], bytes], bytes]", getattr(module, _FUNCTION))
        data = sys.stdin.buffer.read()
        _limit(start)
        status, result = _outcome(function, start.arguments, data)
    with os.fdopen(output, "wb") as stream:
        stream.write(result)
    sys.stderr.flush()
    os._exit(status)


def is_lack_of_memory(text: str) -> bool:
    """Whether an error or the last words of a process say that memory could not be allocated."""
    return _LACK_OF_MEMORY.search(text) is not None


def _end_with_parent(parent: int) -> None:
    """Makes the kernel kill this process with the thread that started it, even while native code runs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def _limit(start: Start) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor_s = int(used.ru_utime + used.ru_stime) + 1 + start.processor_s
    _lower(resource.RLIMIT_CPU, processor_s, processor_s + 1)
    with contextlib.suppress(OSError):  # it is a precaution, and /proc may be closed or absent
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # the first to be killed for memory
    used_bytes = _data_bytes()
    if used_bytes is not None:
        # Unlike RLIMIT_AS, this leaves out mapped files and addresses that are only reserved.
        memory_bytes = used_bytes + start.memory_bytes
        _lower(resource.RLIMIT_DATA, memory_bytes, memory_bytes)


def _lower(kind: int, soft: int, hard: int) -> None:
    """Sets a limit, unless the one that this process already has is lower."""
    limits = [
        wanted if limit == resource.RLIM_INFINITY else min(wanted, limit)
        for wanted, limit in zip((soft, hard), resource.getrlimit(kind), strict=True)
    ]
    resource.setrlimit(kind, (limits[0], limits[1]))


def _data_bytes() -> int | None:
    """Memory that counts towards RLIMIT_DATA; None: unknown, as on macOS, which does not enforce that limit."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["VmData"].split()[0]) * 1024 if "VmData" in sizes else None


def _outcome(
    function: Callable[[Sequence[str], bytes], bytes], arguments: Sequence[str], data: bytes
) -> tuple[int, bytes]:
    try:
        return 0, function(arguments, data)
    except BaseException as error:  # as a panic of Rust is
        if is_lack_of_memory(repr(error.__cause__ or error)):
            return OUT_OF_MEMORY, b""
        if isinstance(error, OnwardError):
            return REFUSED, str(error).encode()
        raise
