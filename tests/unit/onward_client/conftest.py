"""A fake server, and clients of it of both kinds."""

import asyncio
from collections.abc import Iterator
from typing import Unpack

import pytest

from onward_client import TLS, Client
from onward_client.calls import Options
from tests.unit.onward_client.both_clients import Connect, blocking, waiting
from tests.unit.onward_client.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of one kind, and closes them."""
    with asyncio.Runner() as runner:
        maker = blocking if request.param == "Client" else waiting(runner)
        made: list[Client] = []

        def make(target: str, *, tls: TLS | bool | None = None, **options: Unpack[Options]) -> Client:
            made.append(maker(target, tls=tls, **options))
            return made[-1]

        yield make
        for client in made:
            client.close()


@pytest.fixture
def client(connect: Connect, server: FakeServer) -> Client:
    """A client of the fake server."""
    return connect(server.target)
