"""The `onward` command as a process: it serves, drains, and prints why it does not start."""

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from onward_client import Client, InvalidRequestError, UnavailableError
from tests.command import onward, onward_serve

POCKET = Path(__file__).parents[2] / "models/pocket/served"
"""The embedded model, whose context is long enough for an output that takes seconds."""


def test_a_served_model_is_listed_completes_and_is_healthy(tiny_folder: Path) -> None:
    with onward_serve(tiny_folder) as serving:
        target = ("--target", serving.address)
        completed = onward("complete", *target, "--max-tokens", "3", "Hello")
        listed = onward("models", *target)
        health = onward("health", *target)
    assert (completed.returncode, listed.returncode, health.returncode) == (0, 0, 0)
    assert "sending a message to tiny" in completed.stderr
    assert "tiny" in listed.stdout


def test_a_signal_lets_a_running_completion_finish_and_the_server_exits_with_0(tiny_folder: Path) -> None:
    with onward_serve(tiny_folder) as serving, Client(serving.address, max_retries=0) as client:
        with client.stream("Hello", max_tokens=100, ignore_eos=True) as stream:
            next(iter(stream))
            serving.process.send_signal(signal.SIGTERM)
            finished = stream.final()
        assert finished.usage.completion_tokens == 100
        assert serving.ended() == 0
        with pytest.raises(UnavailableError):
            client.complete("Hello")


def test_a_second_signal_ends_running_calls_with_a_reason_and_the_server_exits_with_130() -> None:
    with onward_serve(POCKET) as serving, Client(serving.address, max_retries=0) as client:
        with client.stream("Hello", n=8, max_tokens=900, ignore_eos=True) as stream:
            next(iter(stream))
            serving.process.send_signal(signal.SIGTERM)
            serving.process.send_signal(signal.SIGINT)
            with pytest.raises(UnavailableError) as caught:
                stream.final()
        assert caught.value.reason == "SERVER_DRAINING"
        assert serving.ended() == 130


def test_a_signal_that_comes_when_the_server_has_drained_does_not_change_its_exit_code(tiny_folder: Path) -> None:
    with onward_serve(tiny_folder) as serving:
        assert serving.process.stderr is not None
        serving.process.send_signal(signal.SIGTERM)
        assert any("drained" in line for line in serving.process.stderr)
        while serving.process.poll() is None:
            serving.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                serving.process.wait(0.01)
        assert serving.ended() == 0


def test_a_killed_server_has_another_error_than_a_bad_request(tiny_folder: Path) -> None:
    with onward_serve(tiny_folder) as serving, Client(serving.address, max_retries=0) as client:
        with pytest.raises(InvalidRequestError):
            client.complete("Hello", temperature=-1)
        with client.stream("Hello", max_tokens=100, ignore_eos=True) as stream:
            next(iter(stream))
            serving.process.kill()
            with pytest.raises(UnavailableError):
                stream.final()


def test_a_bad_model_folder_is_one_line_of_error_and_ends_the_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    served = onward("serve", "--model", str(tmp_path), "--listen", address)
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1].startswith(f"onward: {tmp_path} has no model")
    assert "Traceback" not in served.stderr
    assert onward("health", "--target", address).returncode == 1


def test_wrong_usage_exits_with_2(tiny_folder: Path) -> None:
    served = onward("serve", "--model", str(tiny_folder), "--slots", "0")
    assert served.returncode == 2
    assert "--slots" in served.stderr
