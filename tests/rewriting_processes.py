"""Processes in place of the one that rewrites graphs; `config["process"]` of the job says what they do."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from onward_server.model.rewriting.job import Job
from onward_server.model.rewriting.outcome import NotServed, Rewritten


def run_in_child(_arguments: Sequence[str], data: bytes) -> bytes:
    """Does what the job says, and counts its calls in a file."""
    job = Job.from_bytes(data)
    with open(str(job.config["calls"]), "a", encoding="ascii") as calls:  # noqa: PTH123
        calls.write("x")
    return _BEHAVIORS[str(job.config["process"])](job)


def _rewrite(job: Job) -> bytes:
    return Rewritten(model=job.model, changes="nothing", difference=0.0).to_bytes()


def _print(job: Job) -> bytes:
    sys.stdout.write("a warning of a library\n")
    sys.stdout.flush()
    return _rewrite(job)


def _refuse(_job: Job) -> bytes:
    raise NotServed("its attention is of no known form")


def _end_by(number: signal.Signals) -> bytes:
    os.kill(os.getpid(), number)
    raise AssertionError


def _hang(_job: Job) -> bytes:
    time.sleep(600)
    raise AssertionError


_BEHAVIORS: dict[str, Callable[[Job], bytes]] = {
    "rewrites": _rewrite,
    "prints": _print,
    "refuses": _refuse,
    "is killed": lambda _: _end_by(signal.SIGKILL),
    "crashes": lambda _: _end_by(signal.SIGSEGV),
    "hoards": lambda _: bytes(1 << 40),
    "hangs": _hang,
    "returns junk": lambda _: b"\xff\0junk",
}
