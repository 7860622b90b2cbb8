import errno
import re
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from onward_server.api import listener
from onward_server.api.listener import Listener
from onward_server.errors import StartupError
from testing.fakes_completion import FakeCompleter
from tests.serving import HELLO, Served, serving

HAS_IPV6 = listener._has_ipv6()


def resolves_to(monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
    """Lets every host name have these addresses."""

    def getaddrinfo(*_: object, **__: object) -> Sequence[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@asynccontextmanager
async def connected(target: str) -> AsyncGenerator[Served]:
    """A channel of its own to the target."""
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield Served(None, channel)  # pyright: ignore[reportArgumentType]  only the channel is used


async def completes_at(target: str) -> bool:
    async with connected(target) as served:
        return (await served.completions.Complete(HELLO)).model == "fake"


@pytest.mark.parametrize("port_is_given", [False, True], ids=["a free port", "a given port"])
async def test_every_address_of_a_name_is_bound_to_the_same_port(
    monkeypatch: pytest.MonkeyPatch, *, port_is_given: bool
) -> None:
    """`localhost` has two addresses on most machines; gRPC alone is content with one of them."""
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    port = free_port() if port_is_given else 0
    async with serving(FakeCompleter(), listen=f"some-name:{port}", insecure=True) as served:
        address = served.server.address
        reached = [await completes_at(address.replace("some-name", ip)) for ip in ("127.0.0.1", "127.0.0.2")]

    assert address.startswith("some-name:")
    assert reached == [True, True]


async def test_if_one_address_of_a_name_is_taken_none_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(FakeCompleter(), listen="127.0.0.2:0") as served:
        port = served.server.address.rpartition(":")[2]
        resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(StartupError, match=rf"127\.0\.0\.2:{port}, an address of localhost, is in use by another"):
            Listener(f"localhost:{port}")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", int(port))) == errno.ECONNREFUSED
        assert await completes_at(served.server.address)


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
async def test_localhost_is_reached_by_both_protocols() -> None:
    async with serving(FakeCompleter(), listen="localhost:0") as served:
        port = served.server.address.rpartition(":")[2]
        ips = {str(address[0]) for *_, address in socket.getaddrinfo("localhost", None)}
        assert ips <= {"127.0.0.1", "::1"}
        for ip in ips:
            assert await completes_at(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")


def test_an_ipv6_address_of_a_name_is_skipped_on_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts file of a container without IPv6 still lists `::1 localhost`."""
    resolves_to(monkeypatch, "127.0.0.1", "::1")
    monkeypatch.setattr(listener, "_has_ipv6", lambda: False)

    assert Listener("localhost:0")._targets == ["127.0.0.1:0"]


def test_every_failure_has_one_cause_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert refusal(f"127.0.0.1:{port}") == (
            f"--listen: 127.0.0.1:{port} is in use by another process; stop that one (`ss -ltnp` lists it), "
            "or choose another port"
        )
        assert refusal(f"0.0.0.0:{port}") == (
            f"--listen: 0.0.0.0:{port} is in use by another process, which listens on 127.0.0.1:{port}; stop that one "
            "(`ss -ltnp` lists it), or choose another port"
        )
    assert refusal("192.0.2.1:0") == (
        "--listen: 192.0.2.1 is not an address of this machine; use one of its own, or 0.0.0.0 or [::] for all of them"
    )
    assert re.fullmatch(
        r"--listen: the host name 'no\.such\.name\.invalid' has no address here: .+; correct it, or use an IP address",
        refusal("no.such.name.invalid:0"),
    )
    monkeypatch.setattr(listener, "_bound_socket", permission_denied)
    assert re.fullmatch(
        r"--listen: uid \d+ may not bind port 443; choose a port of 1024 or higher, or grant the process "
        r"CAP_NET_BIND_SERVICE",
        refusal("127.0.0.1:443"),
    )


async def test_a_second_server_cannot_take_a_unix_socket(tmp_path: Path) -> None:
    """By itself, gRPC replaces the socket of the first server. When either ends, both are unreachable."""
    address = f"unix:{tmp_path}/socket"
    async with serving(FakeCompleter(), listen=address):
        with pytest.raises(StartupError, match=f"another server listens on {address}; stop it, or choose another path"):
            async with serving(FakeCompleter(), listen=address):
                pass
        assert await completes_at(address)
    async with serving(FakeCompleter(), listen=address):
        assert await completes_at(address)
    assert names(tmp_path) == []


async def test_a_socket_of_another_program_is_not_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/socket")
        other.listen(0)
        assert "another server listens" in refusal(f"unix:{tmp_path}/socket")
        assert "another server listens" in refusal(f"unix:{tmp_path}/socket")  # the backlog is full now
    assert names(tmp_path) == ["socket"]


async def test_the_socket_and_the_lock_of_a_dead_process_are_used_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/socket")
        dead.listen()
    (tmp_path / "socket.lock").touch()
    async with serving(FakeCompleter(), listen=f"unix:{tmp_path}/socket"):
        assert await completes_at(f"unix:{tmp_path}/socket")
    assert names(tmp_path) == []


def test_a_path_that_cannot_be_a_socket_is_refused_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    long = f"{tmp_path}/{'x' * 120}"

    assert refusal(f"unix:{tmp_path}/file") == (
        f"--listen: {tmp_path}/file is not a socket; remove it, or choose another path"
    )
    assert refusal(f"unix:{tmp_path}/no/socket") == (
        f"--listen: {tmp_path}/no, the folder of unix:{tmp_path}/no/socket, does not exist; create it"
    )
    assert refusal(f"unix:{long}") == (
        f"--listen: the path of unix:{long} has {len(long)} bytes; a Unix socket's may have at most 107"
    )
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        (None, "--listen: cannot bind 127.0.0.1:0: another process has just taken it; choose another"),
        (
            grpc.ssl_server_credentials([(b"key", b"certificate")]),
            "--tls-cert: gRPC cannot use the certificate or its key; make them with RSA, P-256 or P-384",
        ),
    ],
    ids=["plaintext", "TLS"],
)
async def test_an_address_that_only_grpc_cannot_bind_has_the_remaining_cause(
    credentials: grpc.ServerCredentials | None, sentence: str
) -> None:
    with pytest.raises(StartupError) as caught:
        Listener("127.0.0.1:0").bind(RefusingServer(), credentials)  # pyright: ignore[reportArgumentType]

    assert str(caught.value) == sentence


class RefusingServer:
    """A gRPC server that binds nothing."""

    def add_insecure_port(self, address: str) -> int:
        raise RuntimeError(address)

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        raise RuntimeError(address, credentials)


def test_a_socket_whose_lock_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "socket.lock").mkdir()

    assert re.fullmatch(
        rf"--listen: uid \d+ cannot create {tmp_path}/socket\.lock, which locks the socket: Is a directory; let it "
        "write to the folder, or choose another path",
        refusal(f"unix:{tmp_path}/socket"),
    )


def refusal(listen: str) -> str:
    """The error for an address that cannot be bound."""
    with pytest.raises(StartupError) as caught:
        Listener(listen)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def permission_denied(ip: str, port: int) -> socket.socket:
    raise PermissionError(errno.EACCES, f"cannot bind {ip}:{port}")
