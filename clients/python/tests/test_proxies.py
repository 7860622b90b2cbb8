"""Proxies of the environment: never for this machine, and named where a connection through one fails."""

import socket
import threading
from collections.abc import Iterator

import pytest

from both_clients import Connect
from fake_server import FakeServer
from onward_client import UnavailableError
from onward_client.channels import Destination
from onward_client.proxies import Proxy, proxy_for
from responses import text_response
from test_channels import ELSEWHERE, LOOPBACK

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


class DeadProxy:
    """Accepts connections, notes what they ask for, and closes them."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                asked = connection.recv(4096)
                if not asked:
                    return
                self.asked.append(asked.partition(b"\r")[0])  # before closing, which ends the call

    def close(self) -> None:
        """Ends the proxy; a connection without data tells its thread."""
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadProxy]:
    """A proxy that is set by no variable yet; the machine's own proxies are not used."""
    for variable in (*VARIABLES, "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    dead = DeadProxy()
    yield dead
    dead.close()


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("prefix", ["127.0.0.1", "localhost", "dns:///localhost", "ipv4:127.0.0.1"])
def test_a_call_to_this_machine_never_goes_through_a_proxy(
    connect: Connect, server: FakeServer, proxy: DeadProxy, monkeypatch: pytest.MonkeyPatch, prefix: str, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    server.script.append(text_response("Hello."))

    assert connect(f"{prefix}:{server.target.rpartition(':')[2]}").complete("Hi").text == "Hello."
    assert not proxy.asked


@pytest.mark.parametrize("target", LOOPBACK)
@pytest.mark.parametrize("tls", [None, False, True])
def test_channels_to_this_machine_use_no_proxy_with_or_without_tls(target: str, *, tls: bool | None) -> None:
    assert dict(Destination.of(target, tls=tls, extra=()).options())["grpc.enable_http_proxy"] == 0


@pytest.mark.parametrize("target", ELSEWHERE)
def test_channels_to_another_machine_may_use_a_proxy(target: str) -> None:
    assert "grpc.enable_http_proxy" not in dict(Destination.of(target, tls=None, extra=()).options())


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_connection_that_fails_in_a_proxy_names_the_proxy_and_its_variable(
    connect: Connect, proxy: DeadProxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.url.replace("//", "//user:secret@"))

    with pytest.raises(UnavailableError) as caught:
        connect("server.invalid:443", tls=False, max_retries=0).complete("Hi")

    assert proxy.asked[0] == b"CONNECT server.invalid:443 HTTP/1.1"
    assert caught.value.hint == (
        f"the connection goes through the proxy {proxy.url}, which {variable} sets; "
        "to connect directly, add server.invalid to no_proxy"
    )
    assert caught.value.hint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_failure_without_a_proxy_names_none(
    connect: Connect, proxy: DeadProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "other.example, 0.0.0.0")

    with pytest.raises(UnavailableError) as caught:
        connect("0.0.0.0:1", tls=False, max_retries=0).complete("Hi")

    assert "proxy" not in str(caught.value)
    assert not proxy.asked


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize(
    ("host", "variables", "expected"),
    [
        ("a.example", {}, None),
        ("a.example", {"HTTP_PROXY": "http://p", "HTTPS_PROXY": "http://p", "GRPC_PROXY": "http://p"}, None),
        ("a.example", {"http_proxy": "http://p", "https_proxy": "http://q"}, Proxy("https_proxy", "http://q")),
        ("a.example", {"http_proxy": "http://p", "grpc_proxy": ""}, Proxy("http_proxy", "http://p")),
        ("a.example", {"http_proxy": "http://p", "no_proxy": "example"}, None),
        ("a.example", {"http_proxy": "http://p", "no_proxy": "A.Example"}, None),
        ("a.example", {"http_proxy": "http://p", "NO_PROXY": "a.example"}, Proxy("http_proxy", "http://p")),
        ("a.example", {"http_proxy": "http://p", "no_proxy": "b,,"}, Proxy("http_proxy", "http://p")),
        ("10.1.2.3", {"http_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, None),
        ("10.1.2.3", {"http_proxy": "http://p", "no_proxy": "11.0.0.0/8"}, Proxy("http_proxy", "http://p")),
        (
            "a.example",
            {"http_proxy": "http://p", "no_grpc_proxy": "b", "no_proxy": "a.example"},
            Proxy("http_proxy", "http://p"),
        ),
    ],
)
def test_the_proxy_of_a_host_is_the_one_that_grpc_uses(
    monkeypatch: pytest.MonkeyPatch, host: str, variables: dict[str, str], expected: Proxy | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(host) == expected
