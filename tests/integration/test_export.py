"""`onward export` as a process."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onward_client import Client
from testing.random_checkpoint import llama_config, write_llama_checkpoint
from tests.command import COMMAND, onward, onward_on_a_small_disk, onward_serve, onward_without_privileges
from tests.waiting import WAIT_S

TINY = llama_config(vocab=512, hidden=64, inner=128, layers=2, heads=(4, 2), tied=True)

WAITS_BEFORE_THE_WEIGHTS = """
import signal, sys
from onward_server.cli import export, main

class Waiting(export.ExportLines):
    def weights(self, num_bytes):
        print("waiting", flush=True)
        signal.pause()

export.ExportLines = Waiting
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "hangup-ignored" else signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[2:]))
"""
"""The command, which waits for a signal when it has written everything but the weights."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    write_llama_checkpoint(folder, TINY)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    return process.stderr.splitlines()[-1]


def test_an_export_is_printed_with_its_size_its_time_and_how_to_serve_it(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "models/tiny"
    exported = onward("export", str(checkpoint), str(output), "--precision", "int8")

    assert (exported.returncode, exported.stdout) == (0, f"{output}\n"), exported.stderr
    num_bytes = sum(path.stat().st_size for path in output.iterdir())
    weights, wrote, serve = exported.stderr.splitlines()
    assert re.fullmatch(r"onward: weights: [\d.]+ KiB in [\d.]+ s", weights)
    assert re.fullmatch(rf"onward: wrote {num_bytes:,} bytes \([\d.]+ KiB\) in [\d.]+ s", wrote)
    assert serve == f"onward: serve it with `{sys.executable} -m onward_server serve --model {output}`"
    assert names(tmp_path / "models") == ["tiny"]


def test_what_was_exported_is_served(checkpoint: Path, tmp_path: Path) -> None:
    assert onward("export", str(checkpoint), str(tmp_path / "tiny")).returncode == 0

    with onward_serve(tmp_path / "tiny") as serving, Client(serving.address) as client:
        completion = client.complete("The tide came in", max_tokens=8, temperature=0, ignore_eos=True)
        (model,) = client.models()

    assert completion.usage.completion_tokens == 8
    assert model.precision == "int8"


@contextmanager
def waiting_export(checkpoint: Path, output: Path, *, option: str = "") -> Generator[subprocess.Popen[str]]:
    """An export in a process of its own that waits before it writes weights."""
    words = ("export", str(checkpoint), str(output))
    with subprocess.Popen(
        [sys.executable, "-c", WAITS_BEFORE_THE_WEIGHTS, option, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "onward: interrupted; nothing was kept"),
        (signal.SIGTERM, 143, "onward: terminated; nothing was kept"),
        (signal.SIGHUP, 143, "onward: terminated; nothing was kept"),
    ],
)
def test_a_signal_ends_the_export_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    with waiting_export(checkpoint, tmp_path / "new") as process:
        assert [name[0] for name in names(tmp_path)] == ["."]
        process.send_signal(number)
        _, stderr = process.communicate(timeout=WAIT_S)

    assert (process.returncode, stderr) == (code, f"{said}\n")
    assert names(tmp_path) == []


def test_a_hangup_that_nohup_ignores_does_not_end_the_export(checkpoint: Path, tmp_path: Path) -> None:
    with waiting_export(checkpoint, tmp_path / "new", option="hangup-ignored") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT_S)

    assert process.returncode == 143


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    exported = onward_on_a_small_disk(50_000, "export", str(checkpoint), str(tmp_path / "new"))

    assert (exported.returncode, exported.stdout) == (1, "")
    assert last_line(exported).startswith(f"onward: the disk of {tmp_path}/new is full: ")
    assert names(tmp_path) == []


def test_a_folder_that_may_not_be_written_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    exported = onward_without_privileges("export", str(checkpoint), str(tmp_path / "closed/new"))

    assert (exported.returncode, exported.stdout) == (1, "")
    assert exported.stderr == (
        f"onward: uid {os.geteuid()} may not write {tmp_path}/closed: Permission denied; name a folder elsewhere\n"
    )


def test_a_reader_that_is_gone_ends_the_command_without_a_traceback(checkpoint: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "export", str(checkpoint), str(tmp_path / "new")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert process.returncode == 1
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert names(tmp_path) == ["new"]


def test_a_stdout_that_is_full_is_one_sentence_and_the_folder_stays(checkpoint: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "export", str(checkpoint), str(tmp_path / "new")]
    with Path("/dev/full").open("w") as full:
        exported = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False)

    assert exported.returncode == 1
    assert last_line(exported) == (
        "onward: the folder was written, but its name cannot be printed to stdout: No space left on device"
    )
    assert "model.onnx" in names(tmp_path / "new")


def test_an_export_goes_on_if_nobody_reads_its_messages(checkpoint: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [*COMMAND, "export", str(checkpoint), str(tmp_path / "new")]
    exported = subprocess.run(words, stdout=subprocess.PIPE, stderr=writer, timeout=WAIT_S, check=False)
    os.close(writer)

    assert exported.returncode == 0
    assert "model.onnx" in names(tmp_path / "new")


def test_on_a_terminal_the_weights_have_a_bar(checkpoint: Path, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    words = [*COMMAND, "export", str(checkpoint), str(tmp_path / "new")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(controller):
            shown += chunk
    os.close(controller)

    assert process.returncode == 0, shown
    assert "weights: 100%" in shown.decode()


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_a_folder_that_exists_is_rejected_and_kept(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    exported = onward("export", str(checkpoint), str(tmp_path))

    assert exported.returncode == 1
    assert exported.stderr == (
        f"onward: {tmp_path} is not empty: it has 'notes.txt'; name another folder, or remove this one first\n"
    )
    assert names(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("words", [("tiny",), ("tiny", "new", "--precision", "int2"), ("", "new"), ("tiny", "")])
def test_wrong_usage_is_told_apart(words: tuple[str, ...]) -> None:
    exported = onward("export", *words)

    assert (exported.returncode, exported.stdout) == (2, "")


def test_the_help_text_has_an_example_and_the_default() -> None:
    helped = onward("export", "--help")

    assert helped.returncode == 0
    assert "  onward export ~/models/Qwen3-0.6B models/qwen3 --precision int8\n" in helped.stdout
    assert "Default: int8" in " ".join(helped.stdout.split())
