"""A machine whose hub is a look-alike, for commands that run as processes."""

import subprocess
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import COMMAND, onward
from tests.look_alike_hub import LookAlikeHub, look_alike_hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine with a home and an HF_HOME of its own, whose HF_ENDPOINT is the look-alike."""

    hub: LookAlikeHub
    home: Path
    hf_home: Path
    set_variable: Callable[[str, str], None]

    def pull(self, *words: str) -> subprocess.CompletedProcess[str]:
        return onward("pull", *words)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @contextmanager
    def serving(self, model: str) -> Generator[Iterator[str]]:
        """Starts a server and gives its log, line by line, while the block runs."""
        with self.start("serve", "--model", model, "--listen", "127.0.0.1:0") as process:
            assert process.stderr is not None
            try:
                yield iter(process.stderr)
            finally:
                process.kill()

    def unfinished_bytes(self) -> int:
        """The number of bytes that interrupted downloads left."""
        return sum(path.stat().st_size for path in self.hf_home.rglob("*.incomplete"))


@contextmanager
def hub_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Machine]:
    """Points all commands that are started in the block to an empty hub and to folders below one."""
    home, hf_home = folder / "home", folder / "hf"
    home.mkdir()
    with look_alike_hub() as hub:
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"HOME": str(home), "HF_HOME": str(hf_home), "HF_ENDPOINT": hub.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield Machine(hub=hub, home=home, hf_home=hf_home, set_variable=monkeypatch.setenv)


def until_served(log: Iterable[str]) -> Generator[str]:
    for line in log:
        yield line
        if "; try: " in line:
            return
    raise AssertionError("the server ended before it served")
