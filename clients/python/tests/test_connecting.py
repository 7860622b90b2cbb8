"""What the error says when a client cannot connect: the cause, and what to do."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from both_clients import Connect
from certificates import Certificate, make_certificate
from fake_server import FakeServer, Hang, failure
from onward_client import TLS, APIError, Client, DeadlineExceededError, InternalError, RequestError, UnavailableError
from onward_client.channels import Destination
from onward_client.errors import RpcFailure, api_error
from onward_client.hints import hint_for
from responses import text_response


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "DNS:other.example")


def serving(of: Certificate, *, client_ca: Certificate | None = None) -> FakeServer:
    pair = (of.key.read_bytes(), of.chain.read_bytes())
    ca = client_ca.chain.read_bytes() if client_ca else None
    return FakeServer(grpc.ssl_server_credentials([pair], ca, require_client_auth=client_ca is not None))


@pytest.fixture
def tls_server(certificate: Certificate) -> Iterator[FakeServer]:
    fake = serving(certificate)
    yield fake
    fake.stop()


@pytest.fixture
def mtls_server(certificate: Certificate) -> Iterator[FakeServer]:
    fake = serving(certificate, client_ca=certificate)
    yield fake
    fake.stop()


def hint_of(client: Client) -> str:
    with pytest.raises(UnavailableError) as raised:
        client.complete("Hi", max_retries=0)
    assert raised.value.hint in str(raised.value)
    return raised.value.hint


def test_mutual_tls_takes_three_files(connect: Connect, mtls_server: FakeServer, certificate: Certificate) -> None:
    mtls_server.script.append(text_response("Hello."))
    tls = TLS(ca=certificate.chain, cert=certificate.chain, key=str(certificate.key))

    assert connect(mtls_server.target, tls=tls).complete("Hi").text == "Hello."


def test_plaintext_to_a_server_with_tls_is_told_to_use_tls(connect: Connect, tls_server: FakeServer) -> None:
    assert hint_of(connect(tls_server.target)) == (
        "the server may expect TLS: connect with tls=True, or with tls=TLS(ca=...) for a private authority "
        "(`--tls-ca` on the command line)"
    )


def test_tls_to_a_server_in_plaintext_is_told_to_use_plaintext(connect: Connect, server: FakeServer) -> None:
    """This is what a service of compose gets that is reached by its name."""
    assert hint_of(connect(server.target, tls=True)) == (
        "the server does not speak TLS: connect with tls=False (`--insecure` on the command line) if the network "
        "between is trusted, or start the server with `--tls-cert` and `--tls-key`"
    )


def test_a_certificate_of_an_unknown_authority_is_told_to_name_it(
    connect: Connect, tls_server: FakeServer, other: Certificate
) -> None:
    expected = (
        "the certificate of the server is not signed by a trusted authority: connect with tls=TLS(ca=...) (`--tls-ca` "
        "on the command line), the PEM file of the authority or of the self-signed certificate"
    )
    assert hint_of(connect(tls_server.target, tls=True)) == expected
    assert hint_of(connect(tls_server.target, tls=TLS(ca=other.chain))) == expected
    assert not tls_server.seen


def test_a_certificate_for_another_name_is_told_apart(connect: Connect, other: Certificate) -> None:
    elsewhere = serving(other)
    try:
        hint = hint_of(connect(elsewhere.target, tls=TLS(ca=other.chain)))
    finally:
        elsewhere.stop()

    assert hint.startswith("the certificate of the server is for another name: use a name of the certificate")


@pytest.mark.parametrize("has_certificate", [False, True], ids=["none", "untrusted"])
def test_mutual_tls_without_a_trusted_certificate_is_told_to_use_one(
    connect: Connect, mtls_server: FakeServer, certificate: Certificate, other: Certificate, *, has_certificate: bool
) -> None:
    tls = TLS(ca=certificate.chain)
    if has_certificate:
        tls = TLS(ca=certificate.chain, cert=other.chain, key=other.key)

    assert hint_of(connect(mtls_server.target, tls=tls)) == (
        "the server may demand a client certificate that it trusts: connect with tls=TLS(ca=..., cert=..., key=...) "
        "(`--tls-ca`, `--tls-cert` and `--tls-key` on the command line)"
    )


def test_where_no_server_listens_the_error_says_how_to_start_one(connect: Connect, server: FakeServer) -> None:
    server.stop()

    assert hint_of(connect(server.target)) == (
        f"no server listens on {server.target}: start it with `onward serve`, or pass the target of another"
    )


def test_where_no_socket_exists_the_error_says_how_to_start_a_server(connect: Connect, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/nothing.sock"

    assert hint_of(connect(target)).startswith(f"no server listens on {target}: start it with `onward serve`")


def test_an_unknown_host_is_told_to_check_its_spelling(connect: Connect) -> None:
    assert hint_of(connect("no-such-host.invalid:50051", timeout=20)) == (
        "the host name is unknown: check the spelling of no-such-host.invalid:50051; "
        "in Docker Compose, use the service's name"
    )


@pytest.fixture
def http_server() -> Iterator[str]:
    """Answers any connection as an HTTP/1 server does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if not connection.recv(4096):
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    host, port = listener.getsockname()
    yield f"{host}:{port}"
    socket.create_connection((host, port)).close()
    thread.join()
    listener.close()


def test_a_server_of_another_protocol_is_told_to_check_the_port(connect: Connect, http_server: str) -> None:
    assert hint_of(connect(http_server)) == (
        f"the server on {http_server} does not speak gRPC: check the port; the default of onward is 50051"
    )


def test_a_failure_of_the_service_itself_has_no_hint(client: Client, server: FakeServer) -> None:
    server.script.append(failure(grpc.StatusCode.INTERNAL, "ENGINE_FAILURE"))

    with pytest.raises(InternalError) as raised:
        client.complete("Hi")

    assert raised.value.hint == ""


def test_a_call_that_takes_too_long_tells_its_timeout(client: Client, server: FakeServer) -> None:
    server.script.append(Hang())

    with pytest.raises(DeadlineExceededError, match=r"the timeout for the whole call, with all attempts, is 0\.3 s"):
        client.complete("Hi", timeout=0.3)


def test_a_request_that_is_too_large_tells_the_limit(client: Client) -> None:
    with pytest.raises(APIError, match="a message may have at most 16 MiB: send less"):
        client.complete("a" * 17_000_000)


CONNECTING = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:1: "
SAID: list[tuple[str, str]] = [
    (CONNECTING + "Ssl handshake failed: SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED: certificate has expired", "expired"),
    (CONNECTING + "Peer name a is not in peer certificate", "for another name"),
    (CONNECTING + "Failed to create security handshaker.", "check that cert and key belong together"),
    (
        "DNS resolution failed for a:1: C-ares status is not ARES_SUCCESS: Domain name not found",
        "the host name is unknown",
    ),
    ("connections to all backends failing; last error: UNAVAILABLE: ipv4:10.0.0.1:1: Socket closed", "expect TLS"),
    ("Socket closed", ""),
    ("", ""),
]


@pytest.mark.parametrize(("said", "expected"), SAID, ids=[said[-30:] for said, _ in SAID])
def test_messages_of_other_versions_of_grpc_get_the_same_hints(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    where = Destination.of("10.0.0.1:1", tls=False, extra=())
    error = api_error(RpcFailure(grpc.StatusCode.UNAVAILABLE, said), "id")

    assert expected in hint_for(where, error)
    assert bool(expected) == bool(hint_for(where, error))


@pytest.mark.parametrize(
    ("content", "message"),
    [("not a certificate", r"^tls.ca: '.*ca.pem' is not a PEM file"), (None, r"^tls.ca: .*No such file")],
    ids=["text", "nothing"],
)
def test_a_file_of_tls_that_is_no_certificate_is_rejected(
    connect: Connect, tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content, encoding="utf-8")

    with pytest.raises(RequestError, match=message):
        connect("localhost:1", tls=TLS(ca=tmp_path / "ca.pem"))
