"""The `onward` command while its models load."""

import logging
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from onward_client import Client, UnavailableError
from onward_server.served_model import load_models
from onward_server.settings.server import Settings
from tests.command import onward
from tests.waiting import WAIT_S

LOADS_FOR_EVER = """
import sys, threading
from onward_server import app, cli
app.load_models = lambda settings, steps: threading.Event().wait()
sys.exit(cli.main(["serve", "--listen", "127.0.0.1:0"]))
"""


def test_a_server_that_loads_is_reachable_not_serving_and_ends_at_a_signal() -> None:
    with subprocess.Popen([sys.executable, "-c", LOADS_FOR_EVER], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        address = next(found[1] for line in lines if (found := re.search(r"listening on (\S+);", line)))
        health = onward("health", "--target", address)
        with Client(address, max_retries=0) as client:
            error = rejection(client)
        process.send_signal(signal.SIGTERM)
        code = process.wait(WAIT_S)

    assert (health.returncode, health.stdout) == (1, "NOT_SERVING\n")
    assert error.reason == "MODEL_LOADING"
    assert error.retry_after is not None
    assert code == 0


@pytest.mark.parametrize("error", ["MemoryError", 'RuntimeError("can\'t start new thread")'])
def test_a_lack_of_memory_while_loading_is_one_sentence(error: str) -> None:
    source = f"""
import sys
from onward_server import app, cli
def load_models(settings, steps):
    raise {error}
app.load_models = load_models
sys.exit(cli.main(["serve", "--listen", "127.0.0.1:0"]))
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ended.returncode == 1
    assert re.search(r"\nonward: the server needs more memory than .* leaves; raise it, .*\n$", ended.stderr)
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_too_little_memory_to_start_is_one_sentence() -> None:
    """The threads of gRPC aborted the process after 12 s."""
    source = """
import sys
from onward_server import app, cli
from onward_server.model.memory import available_memory
app._MIN_BYTES = available_memory().num_bytes * 2
sys.exit(cli.main(["serve", "--listen", "127.0.0.1:0"]))
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"onward: the server needs more memory than .* leaves; raise it, .*\n", ended.stderr)


def rejection(client: Client) -> UnavailableError:
    try:
        client.complete("Hello")
    except UnavailableError as error:
        return error
    raise AssertionError("the call succeeded")


def test_a_start_without_sizes_fits_them_and_logs_the_memory_of_a_full_server(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.model_validate({"model": (f"a={tiny_folder}", f"b={tiny_folder}"), "cache_dir": tmp_path})
    with caplog.at_level(logging.INFO):
        models = load_models(settings)
    assert [8 <= model.loaded.causal_lm.num_slots <= 32 for model in models] == [True, True]
    plans = [line for line in caplog.messages if line.startswith("memory beyond the weights: KV cache of ")]
    assert len(plans) == 2
    (total,) = (record for record in caplog.records if record.message.startswith("memory: "))
    assert re.fullmatch(r"memory: \S+ [MG]iB now, at most \S+ [MG]iB when all slots are full", total.message)
    remaining = sum(model.loaded.remaining_bytes for model in models)
    logged: Mapping[str, int] = vars(total)["fields"]
    assert logged["planned_bytes"] >= logged["resident_bytes"] + remaining
    for model in models:
        if model.compiler is not None:
            model.compiler.close()
