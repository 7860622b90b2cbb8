"""What the real server writes to stderr."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest

from onward_client import Client
from onward_server.version import VERSION
from tests.command import COMMAND, onward
from tests.waiting import WAIT_S

NOISY_LOADING = """
import os, sys, threading, warnings
from onward_server import app, cli

def load_models(settings, steps):
    os.write(2, b"E1130 17:07:03.201737   31340 ssl.cc:1569] from a library\\n")
    os.write(2, b"\\x1b[0;93m2026-11-30 17:00:00.1 [W:onnxruntime:, session.cc:1] from the runtime\\x1b[m\\n")
    warnings.warn("a warning")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    raise RuntimeError("a bug")

app.load_models = load_models
sys.exit(cli.main(["serve", "--listen", "127.0.0.1:0", *sys.argv[1:]]))
"""


def json_lines(text: str) -> list[Mapping[str, object]]:
    """The records of a JSON log; fails if a line is anything else."""
    records = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    return records


def test_in_a_json_log_every_line_is_json_from_the_start_to_the_end(tiny_folder: Path) -> None:
    words = ("serve", "--model", str(tiny_folder), "--listen", "127.0.0.1:0", "--log-format", "json")
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if "; try: " in line:
                break
        started = json.loads(lines[-1])
        with Client(started["address"]) as client, socket.socket() as stranger:
            client.complete("Hello", max_tokens=1)
            host, _, port = started["address"].rpartition(":")
            stranger.connect((host, int(port)))
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        code = process.wait(WAIT_S)

    records = json_lines("".join(lines) + rest)
    assert code == 0
    assert (started["version"], started["models"]) == (VERSION, ["tiny"])
    assert "request" in [record["message"] for record in records]


def test_in_a_json_log_native_lines_warnings_and_uncaught_exceptions_are_records() -> None:
    process = subprocess.run(
        [sys.executable, "-c", NOISY_LOADING, "--log-format", "json"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    records = json_lines(process.stderr)
    native = [
        (record["level"], record["message"]) for record in records if str(record["logger"]).endswith("native_lines")
    ]

    assert process.returncode == 1
    assert native == [
        ("ERROR", "E1130 17:07:03.201737   31340 ssl.cc:1569] from a library"),
        ("WARNING", "2026-11-30 17:00:00.1 [W:onnxruntime:, session.cc:1] from the runtime"),
    ]
    assert [record["level"] for record in records if record["logger"] == "py.warnings"] == ["WARNING"]
    tracebacks = [str(record["traceback"]) for record in records if "traceback" in record]
    assert ["ZeroDivisionError" in text or "RuntimeError" in text for text in tracebacks] == [True, True]
    assert (records[-1]["level"], records[-1]["message"]) == ("CRITICAL", "RuntimeError: a bug")


@pytest.mark.parametrize(
    "words",
    [("--slotz", "1"), ("--model", "/no/such/folder")],
    ids=["an unknown flag", "no model"],
)
def test_with_a_json_log_even_the_reason_not_to_start_is_json(words: tuple[str, ...]) -> None:
    process = onward("serve", "--listen", "127.0.0.1:0", "--log-format", "json", *words)

    assert process.returncode in {1, 2}
    assert json_lines(process.stderr)[-1]["level"] == "ERROR"


@pytest.mark.parametrize(
    ("stderr", "log_format"),
    [("2>&-", "text"), ("2>/dev/full", "json")],
    ids=["closed", "a full disk"],
)
def test_a_server_whose_stderr_cannot_be_written_keeps_serving_and_exits_with_0(
    tiny_folder: Path, tmp_path: Path, stderr: str, log_format: str
) -> None:
    """The server ended, although only its log was affected."""
    target = f"unix:{tmp_path}/socket"
    words = ("serve", "--model", str(tiny_folder), "--listen", target, "--log-format", log_format)
    command = ["/bin/sh", "-c", f'exec "$@" {stderr}', "sh", *COMMAND, *words]
    options = [("grpc.max_reconnect_backoff_ms", 100)]
    with (
        subprocess.Popen(command) as process,
        grpc.insecure_channel(target, options) as channel,
        Client(target, timeout=WAIT_S) as client,
    ):
        try:
            grpc.channel_ready_future(channel).result(WAIT_S)
            completion = client.complete("Hello", max_tokens=1)
        finally:
            process.send_signal(signal.SIGTERM)
        code = process.wait(WAIT_S)

    assert completion.usage.completion_tokens == 1
    assert code == 0
