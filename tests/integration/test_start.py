"""The `onward` command while its models load."""

import re
import signal
import subprocess
import sys

from onward_client import Client, UnavailableError
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


def rejection(client: Client) -> UnavailableError:
    try:
        client.complete("Hello")
    except UnavailableError as error:
        return error
    raise AssertionError("the call succeeded")
