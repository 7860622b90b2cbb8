"""Prints as JSON what Python processes sent and which files they wrote.

    python -m tests.isolation.observed_run network|trace FOLDER CODE    runs `python -c CODE`
    python -m tests.isolation.observed_run network|trace FOLDER         starts a server, calls it, idles and stops it
    python -m tests.isolation.observed_run network|trace FOLDER rewrite  the same with a model whose graph is rewritten

`network` observes packets; it must run under `unshare --net --mount`. `trace` lists system calls with strace.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testing.tiny_model import write_tiny_model
from tests.isolation.every_method import call_every_method
from tests.isolation.network import Traffic, empty_machine
from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[2]
REWRITE = "rewrite"
IDLE_S = 15
"""ONNX Runtime sends its first events nine seconds after it is loaded."""
_PROXY = "http://192.0.2.1:3128"
"""A proxy that calls to this machine must not use; the address is reserved for documentation."""
_STRACE = "strace -D -f -qq -e signal=none -e trace=connect,sendto,sendmsg,sendmmsg -o"
_SENT_TO = re.compile(r'\{sa_family=AF_(?:UNIX, sun_path=|INET6?, sin6?_port=htons\((\d+)\), .*?)"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Machine:
    """Empty folders to run in, and how to see what is sent."""

    folders: Sequence[Path]
    """Home, folder for temporary files, and working folder."""
    tracer: Sequence[str]
    """The command that runs another one, and sees what it sends."""
    sent: Callable[[], set[str]]
    """`ADDRESS:PORT` for each connection and datagram, `name NAME` for each look-up."""

    @classmethod
    def with_network(cls, root: Path) -> "Machine":
        """A machine in the namespaces of this process, which it empties."""
        emptied = empty_machine([ROOT, Path(sys.prefix), Path(sys.base_prefix)])
        traffic = Traffic()
        return cls([*_folders(root), *emptied], [], lambda: traffic.targets)

    @classmethod
    def with_trace(cls, root: Path) -> "Machine":
        """A machine whose system calls are traced."""
        log = root / "strace.log"
        return cls(_folders(root), [*_STRACE.split(), str(log), "--"], lambda: _traced(log))

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts Python. It writes no caches of its own: those are the interpreter's."""
        home, temporary, working, *_ = map(str, self.folders)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}  # noqa: TID251
        own = {"HOME": home, "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1", "http_proxy": _PROXY}
        command = [*self.tracer, sys.executable, *arguments]
        return subprocess.Popen(command, cwd=working, env={**kept, **own}, stderr=subprocess.PIPE, text=True)


def serve_and_call(machine: Machine, *arguments: str) -> str:
    """Starts a server, calls it, and stops it. Returns its address.

    A server without arguments is called by all methods, and idles before it is stopped.
    """
    with machine.run("-m", "onward_server", "serve", "--listen", "127.0.0.1:0", *arguments) as server:
        try:
            assert server.stderr is not None
            started = next(line for line in server.stderr if "; try: " in line)
            target = started.split(" on ")[-1].partition(";")[0]
            if not arguments:
                call_every_method(target)
            for words in (["health"], ["models"], ["complete", "Hello"], ["complete", "--stream", "Hello"]):
                with machine.run("-m", "onward_server", *words, "--target", target) as client:
                    said = client.communicate(timeout=WAIT_S)[1]
                assert client.returncode == 0, f"onward {' '.join(words)}: {said}"
            time.sleep(0 if arguments else IDLE_S)
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=WAIT_S)
        finally:
            server.kill()
    assert server.returncode == 0
    return target


def main(kind: str, root: Path, code: str | None) -> None:
    """Runs one of the two forms, and prints the report."""
    machine = {"network": Machine.with_network, "trace": Machine.with_trace}[kind](root)
    watched = [*machine.folders, ROOT / "models/pocket/served"]
    arguments: list[str] = []
    if code == REWRITE:
        watched.append(write_tiny_model(root / "model", layout="growing"))
        arguments = ["--model", f"pocket={watched[-1]}"]
    before = _files(watched)
    if code is None or code == REWRITE:
        own_calls = {serve_and_call(machine, *arguments)}
    else:
        own_calls = set[str]()
        with machine.run("-c", code) as process:
            process.communicate()
    changed = sorted(str(path) for path, state in _files(watched).items() if before.get(path) != state)
    print(json.dumps({"sent": sorted(machine.sent() - own_calls), "changed": changed}))  # noqa: T201


def _folders(root: Path) -> list[Path]:
    folders = [root / name for name in ("home", "temporary", "working")]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def _files(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Modification time and size of every file; both are 0 for folders."""
    paths = {path: path.lstat() for folder in folders for path in folder.rglob("*")}
    return {path: (0, 0) if path.is_dir() else (stat.st_mtime_ns, stat.st_size) for path, stat in paths.items()}


def _traced(log: Path) -> set[str]:
    found = _SENT_TO.findall(log.read_text(errors="replace"))
    return {f"{address.removeprefix('::ffff:')}:{port}" if port else address for port, address in found}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), next(iter(sys.argv[3:]), None))
