"""A child process returns, or ends in one sentence within its limits."""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from onward_server.model.bounded import process
from onward_server.model.bounded.process import (
    ChildCrashed,
    ChildFailed,
    ChildKilled,
    ChildNotStarted,
    ChildOutOfMemory,
    ChildRefused,
    ChildTooSlow,
    Limits,
    run_bounded,
)

MODULE = "tests.child_behaviors"
LIMITS = Limits(memory_bytes=64 << 20, processor_s=20, wall_s=20)
ROOT = Path(__file__).parents[4]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_a_child_returns_what_its_function_returns() -> None:
    data = os.urandom(300_000)  # more than a pipe holds
    assert run_bounded(MODULE, ["echo", "caf\u00e9"], LIMITS, data=data) == "echo caf\u00e9".encode() + data


def test_a_child_runs_this_interpreter_without_the_variables_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    assert run_bounded(MODULE, ["environment"], LIMITS).decode() == f"{sys.executable} 1 1"


def test_what_libraries_print_is_logged_and_is_not_the_result(caplog: pytest.LogCaptureFixture) -> None:
    assert run_bounded(MODULE, ["speak"], LIMITS) == b"the result"
    assert [record.getMessage() for record in caplog.records] == [
        f"{MODULE}: a line on stdout",
        f"{MODULE}: a line on stderr",
    ]


def test_complete_lines_that_a_child_reports_are_passed_on_as_text() -> None:
    lines: list[str] = []
    result = run_bounded(MODULE, ["report", "20000"], LIMITS, on_report=lines.append)  # more than a pipe holds
    assert result == b"the result"
    assert lines == [f"line {number}" for number in range(20_000)]


def test_an_error_about_a_report_ends_the_child_and_closes_the_pipe() -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    before = open_descriptors()
    with pytest.raises(ValueError, match=r"^line 0$"):
        run_bounded(MODULE, ["report", "1000000000"], LIMITS, on_report=fail)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("behavior", "limits", "kind", "sentence"),
    [
        ("refuse", LIMITS, ChildRefused, "the file is odd: caf\u00e9"),
        ("hoard", LIMITS, ChildOutOfMemory, "it takes more than 64 MiB of memory"),
        ("abort for memory", LIMITS, ChildOutOfMemory, "it takes more than 64 MiB of memory"),
        ("spin", replace(LIMITS, processor_s=0), ChildTooSlow, "it takes more than 0 s of processor time"),
        ("sleep", replace(LIMITS, wall_s=0.5), ChildTooSlow, "it takes more than 0.5 s"),
        ("flood", replace(LIMITS, output_bytes=1 << 10), ChildTooSlow, "it returns more than 1,024 bytes"),
        ("segfault", LIMITS, ChildCrashed, "it crashes its process with SIGSEGV"),
        ("raise", LIMITS, ChildCrashed, "it ends its process with exit code 1: RuntimeError: not on purpose"),
        ("panic", LIMITS, ChildCrashed, "it ends its process with exit code 1: BaseException: a panic"),
        (
            "die",
            LIMITS,
            ChildKilled,
            "its process was killed with SIGKILL, perhaps because the machine has too little memory",
        ),
    ],
)
def test_each_ending_of_a_child_is_one_error(
    behavior: str, limits: Limits, kind: type[ChildFailed], sentence: str
) -> None:
    with pytest.raises(ChildFailed) as failed:
        run_bounded(MODULE, [behavior], limits)
    assert (type(failed.value), str(failed.value)) == (kind, sentence)


def test_a_module_that_cannot_be_imported_is_no_crash() -> None:
    """A rewriting that failed for a broken package was kept as the outcome of the model."""
    with pytest.raises(ChildNotStarted, match=r"^its process cannot start: No module named 'tests\.no_such_module'$"):
        run_bounded("tests.no_such_module", [], LIMITS)


@pytest.mark.parametrize("behavior", ["sleep", "hold the interpreter"])
def test_a_child_dies_with_its_parent(pipe: Path, behavior: str) -> None:
    code = (
        "from onward_server.model.bounded.process import Limits, run_bounded\n"
        "limits = Limits(memory_bytes=1 << 26, processor_s=60, wall_s=60)\n"
        f"run_bounded({MODULE!r}, [{behavior!r}, {str(pipe)!r}], limits)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent, pipe.open() as lines:
        assert lines.readline() == "started\n"
        parent.kill()
        assert lines.read() == ""  # returns when the child has ended


def test_a_child_dies_when_its_parent_is_interrupted(monkeypatch: pytest.MonkeyPatch, pipe: Path) -> None:
    read_end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def interrupt(*_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(read_end, 100):
                raise KeyboardInterrupt

    monkeypatch.setattr(process, "_require_within_limits", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_bounded(MODULE, ["sleep", str(pipe)], LIMITS)
    assert os.read(read_end, 100) == b""  # no process has the other end any more
    os.close(read_end)


def test_the_memory_of_a_process_is_known_without_the_kernels_limit() -> None:
    assert process._resident_bytes(os.getpid()) > 10 << 20
