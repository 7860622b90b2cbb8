"""Targets, TLS and channel settings."""

import json
from importlib.resources import files
from typing import Any

import pytest

from both_clients import Connect
from fake_server import FakeServer
from onward_client import TLS, RequestError, rpcs
from onward_client.channels import Destination, service_config
from responses import text_response

LOOPBACK = [
    "localhost:50051",
    "localhost",
    "127.0.0.1:50051",
    "127.8.8.8:1",
    "[::1]:50051",
    "::1",
    "dns:localhost:1",
    "dns:///localhost:1",
    "dns://8.8.8.8/localhost:1",
    "ipv4:127.0.0.1:1,127.0.0.1:2",
    "ipv6:[::1]:1",
    "unix:/run/onward.sock",
    "unix:///run/onward.sock",
    "unix-abstract:onward",
]
ELSEWHERE = [
    "example.com:443",
    "localhost.example.com:443",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "[2001:db8::1]:50051",
    "dns:///example.com:443",
    "ipv4:127.0.0.1:1,10.0.0.1:2",
    "xds:///localhost",
    "example.com/localhost:1",
]


def shipped() -> dict[str, Any]:
    return json.loads(files("onward_client").joinpath("service_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("target", LOOPBACK)
def test_calls_to_this_machine_use_plaintext(target: str) -> None:
    assert Destination.of(target, tls=None, extra=()).credentials is None


@pytest.mark.parametrize("target", ELSEWHERE)
def test_calls_to_another_machine_use_tls(target: str) -> None:
    assert Destination.of(target, tls=None, extra=()).credentials is not None


def test_tls_can_be_turned_off_and_on() -> None:
    assert Destination.of("example.com:443", tls=False, extra=()).credentials is None
    assert Destination.of("localhost:443", tls=True, extra=()).credentials is not None


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        (TLS(ca="nowhere.pem"), r"^tls.ca: .*No such file or directory: 'nowhere.pem'"),
        (TLS(cert="cert.pem"), r"^tls.key: is not set; set both cert and key, or neither$"),
    ],
    ids=["missing", "half"],
)
def test_unusable_tls_files_are_rejected_when_the_client_is_created(connect: Connect, tls: TLS, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        connect("localhost:1", tls=tls)


def test_the_service_config_has_no_throttle_and_balances_over_replicas() -> None:
    """A throttle stops all retries of a client after a burst of refusals, however politely it waits."""
    assert set(shipped()) == {"loadBalancingConfig", "methodConfig"}
    assert service_config() == service_config(3) == shipped()


def test_calls_are_spread_over_all_addresses_of_the_target(connect: Connect, server: FakeServer) -> None:
    replica = FakeServer()
    client = connect(f"ipv4:{server.target},{replica.target}")
    try:
        while not (server.seen and replica.seen):
            for each in (server, replica):
                each.script.append(text_response())
            client.complete("Hi")
    finally:
        replica.stop()


def test_the_service_config_names_every_service_of_the_protocol() -> None:
    services = [rpc.path.split("/")[1] for rpc in vars(rpcs).values() if isinstance(rpc, rpcs.Rpc)]
    named = [name["service"] for method in shipped()["methodConfig"] for name in method["name"]]

    assert set(named) == {service for service in services if service.startswith("onward.")}


def test_channel_options_of_the_caller_take_precedence() -> None:
    options = Destination.of("localhost:1", tls=None, extra=[("grpc.keepalive_time_ms", 5)]).options()

    assert dict(options)["grpc.keepalive_time_ms"] == 5
