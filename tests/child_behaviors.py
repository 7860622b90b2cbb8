"""A module for `run_bounded`: its first argument names what the child does."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

import tokenizers

from onward_server.errors import ModelFolderError


def run_in_child(arguments: Sequence[str], data: bytes) -> bytes:
    return BEHAVIORS[arguments[0]](arguments, data)


def _echo(arguments: Sequence[str], data: bytes) -> bytes:
    return " ".join(arguments).encode() + data


def _environment(_: Sequence[str], __: bytes) -> bytes:
    flags = sys.flags
    return f"{sys.executable} {flags.isolated} {flags.ignore_environment}".encode()


def _speak(_: Sequence[str], __: bytes) -> bytes:
    os.write(1, b"a line on stdout\n")
    os.write(2, b"a line on stderr\n")
    return b"the result"


def _report(arguments: Sequence[str], _: bytes) -> bytes:
    with os.fdopen(int(arguments[-1]), "w", encoding="utf-8", buffering=1) as reports:
        reports.writelines(f"line {number}\n" for number in range(int(arguments[1])))
        reports.write("no line")
    return b"the result"


def _refuse(_: Sequence[str], __: bytes) -> bytes:
    raise ModelFolderError("the file is odd: caf\u00e9")


def _raise(_: Sequence[str], __: bytes) -> bytes:
    raise RuntimeError("not on purpose")


def _panic(_: Sequence[str], __: bytes) -> bytes:
    raise BaseException("a panic")  # noqa: TRY002


def _hoard(_: Sequence[str], __: bytes) -> bytes:
    return bytes(1 << 30)


def _abort_for_memory(_: Sequence[str], __: bytes) -> bytes:
    """Rust ends the process if it cannot allocate."""
    text = tokenizers.NormalizedString("a" * (1 << 20))
    text.prepend("b" * (48 << 20))
    for _count in range(5):
        text.append(text.normalized)
    return b""


def _spin(_: Sequence[str], __: bytes) -> bytes:
    while True:
        pass


def _sleep(arguments: Sequence[str], _: bytes) -> bytes:
    with _announced(arguments):
        time.sleep(60)
    return b""


def _hold_the_interpreter(arguments: Sequence[str], _: bytes) -> bytes:
    """Sleeps in native code that does not release the GIL."""
    with _announced(arguments):
        ctypes.PyDLL(None).sleep(60)
    return b""


@contextmanager
def _announced(arguments: Sequence[str]) -> Generator[None]:
    """Writes a line to the named pipe of the arguments, if any, and has it open during the block."""
    with open(arguments[1] if len(arguments) > 1 else os.devnull, "w") as pipe:  # noqa: PTH123
        pipe.write("started\n")
        pipe.flush()
        yield


def _flood(_: Sequence[str], __: bytes) -> bytes:
    return bytes(1 << 20)


def _segfault(_: Sequence[str], __: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def _die(_: Sequence[str], __: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


BEHAVIORS: Mapping[str, Callable[[Sequence[str], bytes], bytes]] = {
    "abort for memory": _abort_for_memory,
    "die": _die,
    "echo": _echo,
    "environment": _environment,
    "flood": _flood,
    "hoard": _hoard,
    "hold the interpreter": _hold_the_interpreter,
    "panic": _panic,
    "raise": _raise,
    "refuse": _refuse,
    "report": _report,
    "segfault": _segfault,
    "sleep": _sleep,
    "speak": _speak,
    "spin": _spin,
}
