"""`onward pull` and `onward serve --model OWNER/NAME` as processes, with a look-alike of the Hugging Face hub."""

import contextlib
import json
import os
import pty
import shlex
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import onnx
import pytest
from onnx import external_data_helper

from onward_client import Client, UnavailableError
from tests.command import COMMAND, onward, onward_on_a_small_disk, onward_without_privileges
from tests.hub_faults import Respond, Stall
from tests.hub_machine import Machine, hub_machine, until_served
from tests.waiting import WAIT_S

REPO, WEIGHTS = "owner/tiny", "model.onnx.data"


def with_external_data(folder: Path) -> dict[str, bytes]:
    """The graph of a folder, and its large weights in a file of their own."""
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    weights = bytearray()
    for tensor in model.graph.initializer:
        data = tensor.raw_data
        if len(data) > 256:
            external_data_helper.set_external_data(tensor, WEIGHTS, offset=len(weights), length=len(data))
            tensor.ClearField("raw_data")
            weights += data
    return {"model.onnx": model.SerializeToString(), WEIGHTS: bytes(weights)}


@pytest.fixture
def machine(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Machine]:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()} | with_external_data(tiny_folder)
    with hub_machine(tmp_path, monkeypatch) as machine:
        machine.hub.commit(REPO, files)
        yield machine


def test_redirected_the_folder_goes_to_stdout_and_a_line_for_each_file_to_stderr(
    machine: Machine, tiny_folder: Path
) -> None:
    pulled = machine.pull(REPO)
    assert pulled.returncode == 0, pulled.stderr
    folder = Path(pulled.stdout.removesuffix("\n"))
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, *(path.name for path in tiny_folder.iterdir())}
    lines = pulled.stderr.splitlines()
    assert any(line.startswith(f"onward: {WEIGHTS}: 57") for line in lines)
    assert lines[-1] == f"onward: serve it with `{shlex.join(COMMAND)} serve --model {REPO}`"
    assert "\r" not in pulled.stderr


def test_no_file_is_written_outside_of_hf_home(machine: Machine) -> None:
    machine.set_variable("HF_HUB_DISABLE_TELEMETRY", "0")
    assert machine.pull(REPO).returncode == 0
    assert not list(machine.home.iterdir())
    assert not machine.hub.requests_of("agent-harnesses"), "the telemetry of huggingface-hub is on"
    assert {path.name for path in machine.hf_home.iterdir()} == {"hub"}
    assert {path.name for path in (machine.hf_home / "hub").iterdir()} == {"models--owner--tiny"}


def test_hf_hub_cache_is_where_the_models_go(machine: Machine) -> None:
    other = machine.hf_home.parent / "elsewhere"
    machine.set_variable("HF_HUB_CACHE", str(other))
    pulled = machine.pull(REPO)
    assert Path(pulled.stdout.strip()).is_relative_to(other)
    assert not machine.hf_home.exists()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "HF_HUB_ETAG_TIMEOUT",
            "ten",
            "HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT must be integers: invalid literal for int() ",
        ),
        (
            "HF_HUB_DOWNLOAD_TIMEOUT",
            "-1",
            "HF_HUB_DOWNLOAD_TIMEOUT: -1 is outside [1, 86400] seconds; correct or unset it",
        ),
    ],
)
@pytest.mark.parametrize("command", ["pull", "serve"])
def test_a_wrong_timeout_is_rejected(machine: Machine, command: str, name: str, value: str, sentence: str) -> None:
    machine.set_variable(name, value)
    done = onward("pull", REPO) if command == "pull" else onward("serve", "--model", REPO, "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"onward: {sentence}")


@pytest.mark.parametrize("is_off", [False, True])
def test_on_a_terminal_each_file_has_a_bar_unless_bars_are_off(machine: Machine, *, is_off: bool) -> None:
    machine.set_variable("HF_HUB_DISABLE_PROGRESS_BARS", str(int(is_off)))
    controller, terminal = pty.openpty()
    with subprocess.Popen([*COMMAND, "pull", REPO], stdout=subprocess.PIPE, stderr=terminal, text=True) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(controller):
            shown += chunk
        assert process.stdout is not None
        printed = process.stdout.read()
    os.close(controller)
    assert process.returncode == 0, shown
    assert (f"{WEIGHTS}: 100%" in shown.decode()) is not is_off
    assert Path(printed.strip(), "model.onnx").is_file()


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.fixture
def heeded_ctrl_c() -> Generator[None]:
    """Lets child processes see SIGINT, which a shell that runs the tests in the background makes them ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_keeps_what_has_arrived_and_the_next_pull_goes_on_there(machine: Machine) -> None:
    machine.hub.faults.append(Stall(path=WEIGHTS, after=300_000))
    with machine.start("pull", REPO) as process:
        machine.hub.wait_until(lambda hub: hub.is_stalled)
        while not machine.unfinished_bytes():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, printed) == (130, "")
    assert (
        said.splitlines()[-1]
        == "onward: interrupted; the downloaded part is kept, and the same command continues from there"
    )
    kept = machine.unfinished_bytes()
    machine.hub.release()
    machine.hub.requests.clear()
    assert machine.pull(REPO).returncode == 0
    assert [request.start for request in machine.hub.requests if request.host == "cdn"] == [kept]


def test_a_reader_that_is_gone_ends_the_command_without_a_traceback(machine: Machine) -> None:
    with machine.start("pull", REPO) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_a_disk_that_fills_up_is_one_sentence_and_what_has_arrived_is_kept(machine: Machine) -> None:
    pulled = onward_on_a_small_disk(200_000, "pull", REPO)
    assert (pulled.returncode, pulled.stdout) == (1, "")
    assert pulled.stderr.splitlines()[-1].startswith(f"onward: the disk of {machine.hf_home}/hub is full: ")
    assert machine.unfinished_bytes() == 200_000
    assert machine.pull(REPO).returncode == 0


def test_an_hf_home_that_may_not_be_written_is_named(machine: Machine) -> None:
    machine.hf_home.mkdir(mode=0o555)
    pulled = onward_without_privileges("pull", REPO)
    assert (pulled.returncode, pulled.stdout) == (1, "")
    assert pulled.stderr.splitlines()[-1] == (
        f"onward: uid {os.geteuid()} may not write {machine.hf_home}/hub: Permission denied; set HF_HOME to a folder "
        "that can be written"
    )


def test_several_models_are_pulled_and_a_failure_does_not_stop_the_others(machine: Machine) -> None:
    pulled = machine.pull("owner/none", REPO, "owner/other")
    assert pulled.returncode == 1
    assert Path(pulled.stdout.strip(), "model.onnx").is_file()
    assert "has no repository owner/none" in pulled.stderr
    assert "has no repository owner/other" in pulled.stderr


@pytest.mark.parametrize("word", [".", "no-owner", "https://huggingface.co/owner/tiny", "owner/tiny@"])
def test_a_word_that_is_no_repository_is_wrong_usage(machine: Machine, word: str) -> None:
    pulled = machine.pull(word)
    assert (pulled.returncode, pulled.stdout) == (2, "")
    assert pulled.stderr.startswith(f"onward: {word!r} ")
    assert not machine.hub.requests


def test_a_server_downloads_its_model_while_it_says_that_it_loads(machine: Machine) -> None:
    machine.hub.faults.append(Stall(path=WEIGHTS, after=1000))
    with machine.serving(REPO) as log:
        address = next(line for line in log if "listening on" in line).split("listening on ")[1].split(";")[0]
        machine.hub.wait_until(lambda hub: hub.is_stalled)
        with Client(address, max_retries=0) as client:
            with pytest.raises(UnavailableError) as caught:
                client.complete("Hello")
            assert caught.value.reason == "MODEL_LOADING"
            machine.hub.release()
            assert any("; try: " in line for line in log)
            assert client.complete("Hello", min_tokens=2, max_tokens=2).usage.completion_tokens == 2
            assert [model.id for model in client.models()] == ["tiny"]


@pytest.mark.parametrize("reason", ["HF_HUB_OFFLINE is set", "cannot be reached"])
def test_a_server_without_a_hub_serves_the_cached_commit_and_says_so(machine: Machine, reason: str) -> None:
    commit = Path(machine.pull(REPO).stdout.strip()).name
    machine.hub.close()
    if "OFFLINE" in reason:
        machine.set_variable("HF_HUB_OFFLINE", "1")
    with machine.serving(REPO) as log:
        said = [line for line in until_served(log) if reason in line]
    assert len(said) == 1
    assert f"using commit {commit} of {REPO}, which is in the cache" in said[0]


def test_a_server_that_cannot_get_its_model_ends_with_one_sentence(machine: Machine) -> None:
    """The sentence also helps users who mistyped the name of a folder."""
    machine.set_variable("HF_HUB_OFFLINE", "1")
    with machine.serving(REPO) as log:
        said = list(log)[-1]
    assert said.startswith(
        f"onward: HF_HUB_OFFLINE is set, and {machine.hf_home}/hub does not have all files of {REPO}"
    )
    assert said.endswith(f" (there is no folder {REPO} here)\n")


def test_a_json_log_has_a_record_for_each_line_of_a_download(machine: Machine) -> None:
    machine.hub.faults += [
        Respond(path="revision/main", status=503, headers={"Retry-After": "0", "X-HF-Warning": "x;y"})
    ]
    machine.set_variable("ONWARD_LOG_FORMAT", "json")
    with machine.serving(REPO) as log:
        records = [json.loads(line) for line in until_served(log)]
    assert any(record["message"].startswith(f"model tiny: {WEIGHTS}: 57") for record in records)
    assert not any("signature" in str(record) for record in records)
