"""How the start line says to call the server."""

import shlex
import sys
from pathlib import Path

import pytest

from onward_client.targets import is_loopback
from onward_server.cli import _parser
from onward_server.program import program as program_words
from onward_server.settings.client import ClientSettings
from onward_server.settings.server import Settings
from onward_server.start_line import start_line
from onward_server.version import VERSION

TLS = {"tls_cert": "certs/my server.pem", "tls_key": "key.pem"}
CERT = str(Path("certs/my server.pem").resolve())


@pytest.mark.parametrize(
    ("settings", "address", "target", "flags"),
    [
        ({}, "127.0.0.1:50051", "127.0.0.1:50051", {}),
        ({}, "127.0.0.1:4711", "127.0.0.1:4711", {}),
        ({}, "localhost:4711", "localhost:4711", {}),
        ({"listen": "unix:/run/a b"}, "unix:/run/a b", "unix:/run/a b", {}),
        ({"listen": "0.0.0.0:50051"}, "0.0.0.0:50051", "127.0.0.1:50051", {}),
        ({"listen": "[::]:50051"}, "[::]:50051", "[::1]:50051", {}),
        ({"listen": "10.0.0.0:50051"}, "10.0.0.0:50051", "10.0.0.0:50051", {"insecure": True}),
        ({"listen": "10.0.0.0:50051", **TLS}, "10.0.0.0:50051", "10.0.0.0:50051", {"tls_ca": CERT}),
        (TLS, "127.0.0.1:50051", "127.0.0.1:50051", {"tls_ca": CERT}),
        (
            {**TLS, "tls_client_ca": "ca.pem"},
            "127.0.0.1:50051",
            "127.0.0.1:50051",
            {"tls_ca": CERT, "tls_cert": "CERT", "tls_key": "KEY"},
        ),
        (
            {"api_keys_file": "the keys"},
            "127.0.0.1:50051",
            "127.0.0.1:50051",
            {"api_key_file": Path("the keys").resolve()},
        ),
    ],
    ids=[
        *("the defaults", "a port", "a host name", "a socket", "all IPv4", "all IPv6"),
        *("plaintext to the network", "TLS to the network", "TLS", "mutual TLS", "keys"),
    ],
)
def test_the_command_of_the_start_line_calls_the_server(
    settings: dict[str, str], address: str, target: str, flags: dict[str, object]
) -> None:
    said = start_line(Settings.model_validate({"model": ("m",), **settings}), address)
    about, _, command = said.partition("; try: ")
    program, *words = shlex.split(command)
    parsed = _parser(ClientSettings(target="127.0.0.1:50051", api_key=None)).parse_args(words)
    connection = {name: getattr(parsed, name) for name in CONNECTION if getattr(parsed, name)}

    assert about == f"onward {VERSION} serves m on {address}"
    assert (program, parsed.command, parsed.prompt) == ("onward", "complete", "Hello")
    assert connection == {"target": target, **flags}
    assert bool(parsed.tls_ca or parsed.insecure) or is_loopback(target)


CONNECTION = ("target", "insecure", "tls_ca", "tls_cert", "tls_key", "api_key_file")


@pytest.mark.parametrize("is_on_path", [True, False], ids=["on the path", "elsewhere"])
def test_the_start_line_names_the_command_as_a_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_on_path: bool
) -> None:
    script = tmp_path / "my env" / "onward"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "serve"])
    monkeypatch.setenv("PATH", str(script.parent) if is_on_path else "")

    program = program_words()

    assert program == (("onward",) if is_on_path else (str(script),))
    assert shlex.split(start_line(Settings(), "[::]:1", program).partition("; try: ")[2])[:2] == [*program, "complete"]


def test_the_start_line_of_a_module_starts_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/site-packages/onward_server/__main__.py", "serve"])

    assert program_words() == (sys.executable, "-m", "onward_server")
