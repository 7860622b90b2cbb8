"""Nothing leaves the machine, and no file but a rewritten graph is written, while a server is called in every way.

Run by `make test-isolation`. It takes 30 seconds for each way of observing, most of them idle: ONNX Runtime's telemetry
sends its first events after nine seconds. Namespaces show packets; where they are refused, strace shows system calls.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.isolation.observed_run import REWRITE

ROOT = Path(__file__).parents[2]
_LIMIT_S = 300
_CONTROL = """
import pathlib, socket, tempfile
pathlib.Path.home().joinpath(".cache").mkdir()
tempfile.NamedTemporaryFile(delete=False).close()
try:
    socket.create_connection(("events.invalid", 443), 1)
except OSError:
    pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.2", 9))
"""
_PULL = f"""
import os, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from onnx import TensorProto, helper
from tests.look_alike_hub import look_alike_hub
inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in ("input_ids", "past_key")]
graph = helper.make_graph([helper.make_node("Identity", ["input_ids"], ["logits"])], "g", inputs, [])
model = helper.make_model(graph).SerializeToString()
with look_alike_hub() as hub:
    hub.commit("owner/model", {{"model.onnx": model, "config.json": b"{{}}", "tokenizer.json": b"{{}}"}})
    os.environ.update(HF_ENDPOINT=hub.url, HF_HOME=os.path.expanduser("~/hf"), HF_TOKEN="hf", no_proxy="127.0.0.1")
    subprocess.run([sys.executable, "-m", "onward_server", "pull", "owner/model"], check=True)
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What was sent beyond the calls of the test, and which files were created or changed."""

    sent: list[str]
    changed: list[str]


@cache
def namespaces() -> tuple[str, ...] | None:
    """The command that runs another one in empty namespaces; None where they are refused."""
    as_root = () if os.getuid() == 0 else ("--user", "--map-root-user")
    command = ("unshare", *as_root, "--net", "--mount", "--")
    try:
        tried = subprocess.run([*command, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return None
    return None if tried.returncode else command


def kinds() -> list[str]:
    """The ways of observing that work here. Without any, the test of namespaces runs and fails."""
    tools = {"network": namespaces() is not None, "trace": shutil.which("strace") is not None}
    return [kind for kind, works in tools.items() if works] or ["network"]


def observe(kind: str, folder: Path, *code: str) -> Report:
    """Runs the code, or else a server, and reports what it sent and wrote."""
    prefix = namespaces() if kind == "network" else ()
    assert prefix is not None, "needs util-linux's unshare and the right to use it, or strace"
    command = [*prefix, sys.executable, "-m", "tests.isolation.observed_run", kind, str(folder), *code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", kinds())
def test_a_server_that_is_called_idles_and_stops_sends_nothing_and_writes_no_file(kind: str, tmp_path: Path) -> None:
    assert observe(kind, tmp_path / "run") == Report(sent=[], changed=[])


@pytest.mark.parametrize("kind", kinds())
def test_a_server_that_rewrites_a_graph_writes_it_to_the_cache_folder_and_nothing_else(
    kind: str, tmp_path: Path
) -> None:
    report = observe(kind, tmp_path / "run", REWRITE)
    assert report.sent == []
    cache = tmp_path / "run" / "home" / ".cache"
    folders = [str(cache), str(cache / "onward"), str(cache / "onward" / "rewritten")]
    assert report.changed[:3] == folders
    assert [Path(path).suffix for path in report.changed[3:]] == [".graph"]


@pytest.mark.parametrize("kind", kinds())
def test_a_pull_asks_the_hub_and_its_cdn_alone_and_writes_to_hf_home_alone(kind: str, tmp_path: Path) -> None:
    report = observe(kind, tmp_path / "run", _PULL)
    assert [target.rpartition(":")[0] for target in report.sent] == ["127.0.0.1"] * 2, report.sent
    hf_home = tmp_path / "run" / "home" / "hf"
    assert all(Path(path).is_relative_to(hf_home) for path in report.changed)
    assert "model.onnx" in [Path(path).name for path in report.changed]


@pytest.mark.parametrize("kind", kinds())
def test_a_lookup_a_datagram_and_new_files_are_observed(kind: str, tmp_path: Path) -> None:
    report = observe(kind, tmp_path / "run", _CONTROL)
    assert "127.0.0.2:9" in report.sent
    assert any(target.endswith(":53") for target in report.sent)
    assert kind == "trace" or {"name events.invalid", "192.0.2.80:443"} <= set(report.sent)
    assert [Path(path).parent.name for path in report.changed] == ["home", "temporary"]
